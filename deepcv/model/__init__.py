"""The deep Chan-Vese model of one image (sections 3 and 4.1 of the paper)."""

"""The deep Chan-Vese model of one image: the paper, sections 3 and 4.1."""

"""Numerical checks of section 3 and the appendix."""

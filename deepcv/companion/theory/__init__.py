"""Section 3 and the appendix in numbers."""

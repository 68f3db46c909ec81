"""The companion: the paper's experiments, their results, and the verdict on its claims. Needs the extra `companion`."""

"""The hint at the foreground, by default the saliency map [34]."""

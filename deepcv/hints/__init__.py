"""The hint of where the foreground is, by default the saliency map [34]."""

"""The hint: where the foreground is believed to be, by default the saliency map [34]."""

"""Algorithm 3: networks trained on a collection of images, and their use."""

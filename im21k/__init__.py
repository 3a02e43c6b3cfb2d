"""im21k: an image classifier over all of ImageNet's 21,841 classes, on one machine."""

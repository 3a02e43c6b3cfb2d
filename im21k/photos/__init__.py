"""What is a photo, wherever it lies: sources, archives, bytes to pixels, crops."""

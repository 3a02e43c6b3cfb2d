"""Released weights and photos of other classes -> a release folder for these classes."""

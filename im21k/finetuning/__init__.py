"""Released weights and photos of other classes -> a release folder of their own."""

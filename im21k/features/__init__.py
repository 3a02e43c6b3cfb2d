"""Vectors of photos: what a stage of the network says of each, and what it is worth."""

"""Probabilities -> what to say about a photo; no JAX, only numpy and scipy."""

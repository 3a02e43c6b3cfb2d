"""Probabilities -> what to say about a photo; numpy only."""

"""Weights -> a local page, and the same as JSON for programs."""

"""Weights and photos -> names, pictures and features."""

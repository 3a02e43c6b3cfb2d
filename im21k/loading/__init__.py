"""Shards -> batches for training, and photos -> batches to be scored."""

"""Batches + a model -> weights: step, optimiser, checkpoints, loop."""

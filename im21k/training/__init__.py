"""Batches + a model -> weights: devices, the step, its optimiser, checkpoints, loop."""

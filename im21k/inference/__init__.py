"""Weights -> numbers, names and pictures."""

from im21k.inference.evaluate import evaluate
from im21k.inference.predict import predict

__all__ = ["evaluate", "predict"]

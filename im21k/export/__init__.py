"""Released weights -> programs for other software: StableHLO, ONNX, PyTorch."""

"""How good are weights? One scorer, accuracy, hierarchical measures, calibration."""

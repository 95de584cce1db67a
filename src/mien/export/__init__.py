"""Export of checkpoints to calibrated model files. Needs the extra `train`."""

"""Evaluation of models on labeled faces: accuracy, calibration, groups, and comparison of two models."""

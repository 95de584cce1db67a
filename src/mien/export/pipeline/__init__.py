"""Graphs for phones: pixels in, faces and calibrated probabilities out. Needs the extra `train`."""

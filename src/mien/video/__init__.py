"""Faces in motion: video and camera read frame by frame, the same face followed, its expression steadied."""

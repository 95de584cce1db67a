"""Overlays drawn on images with Pillow: boxes, cards, tracks and explanations."""

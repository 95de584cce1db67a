"""Facial expressions in video: decoding, face tracking, temporal smoothing and summaries."""

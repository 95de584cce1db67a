"""Video input and output: reading frames, and writing videos in segments."""

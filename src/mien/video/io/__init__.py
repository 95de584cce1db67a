"""Video sources and files: open, decode, queue and write frames."""

"""Batch analysis of many images and videos on all cores or on a Ray cluster, resumable, into Parquet files."""

"""Packed data sets on disk, and the input pipeline from records to batches."""

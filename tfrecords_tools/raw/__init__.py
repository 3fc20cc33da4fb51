"""Readers of raw files as they are distributed: official lists, matrices, JSON, manifests, SVG."""

"""Predictions of a method, and the metrics that compare them with the ground truth."""

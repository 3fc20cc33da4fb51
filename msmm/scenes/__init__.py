"""Drawn pictures with labels and tags, made from a seed: the data set that needs no download."""

"""Finished models: the model directory, the engines that run it, and exports."""

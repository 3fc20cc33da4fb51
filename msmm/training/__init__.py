"""Algorithm 1: runs, stages, the training loop, and the rows of the tables."""

"""A finished model as one graph for other runtimes: what it computes, how it is written, and the check."""

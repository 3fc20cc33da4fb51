"""Multi-modal multi-scale deep learning for large-scale image annotation, in Keras."""

__version__ = "0.1.0"

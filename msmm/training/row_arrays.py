"""Arrays on disk side by side, of which only the rows that are read leave the disk."""

import numpy as np


class ConcatenatedRows:
    """Arrays [N, …] side by side; only the rows that are read are concatenated."""

    def __init__(self, *arrays: np.ndarray):
        self._arrays = arrays
        self.shape = (len(arrays[0]), sum(array.shape[1] for array in arrays))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows) -> np.ndarray:
        """Returns some rows, by an index array, mask or slice: [n, sum of the arrays' widths]."""
        return np.concatenate([array[rows] for array in self._arrays], axis=1)

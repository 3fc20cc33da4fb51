import functools

import numpy as np
import pytest

from msmm.baselines.baseline import Examples
from msmm.configs import replace_flat
from msmm.configs.base import Config
from msmm.training import array_cache


@pytest.fixture
def make_method(tmp_path):
    """Returns a function that creates a baseline on random or given splits, with settings by flat name.

    train_rows: of the training split; the others are held out.
    """

    def make(
        method,
        splits=None,
        sizes=(30, 12),
        classes=5,
        tags=9,
        feature_size=4,
        train_rows=None,
        **settings,
    ):
        if splits is None:
            rng = np.random.default_rng(0)
            splits = {
                split: Examples(
                    features=rng.normal(3, 2, (size, feature_size)).astype(np.float32),
                    tags=rng.random((size, tags)) < 0.3,
                    labels=rng.random((size, classes)) < 0.4,
                )
                for split, size in zip(("train", "test"), sizes, strict=True)
            }
        feature_size = splits["train"].features.shape[1]
        return method(
            replace_flat(Config(), settings),
            splits,
            feature_size,
            functools.partial(array_cache.cache_arrays, tmp_path),
            np.arange(len(splits["train"].labels)) if train_rows is None else train_rows,
        )

    return make

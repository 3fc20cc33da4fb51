"""What methods on maps read: maps of the frozen trunk, from the cache or computed at every step, and f_t."""

import functools
from collections.abc import Iterator

import keras
import numpy as np

from msmm.baselines.baseline import Baseline
from msmm.data.input_pipeline import batches_of
from msmm.models.precision import set_precision
from msmm.training import frozen_features, model_parts, task_building
from msmm.training.row_arrays import DiskRows
from msmm.training.run import Run


class MapSource:
    """The inputs of a method that reads maps.

    Over the disk budget of the cached maps, the frozen trunk is part of the model, and the inputs are images.

    Args:
        run: with a trained trunk, or a data set of maps.
        method: the method.
    """

    def __init__(self, run: Run, method: Baseline):
        self._run, self._method = run, method

    def model(self, network: keras.Model) -> keras.Model:
        """Returns the model from what `batches` yields to the network's outputs."""
        if self._views is not None:
            return network
        backbone = set_precision(model_parts.load_part(self._run, "backbone"), self._run.config.precision)
        backbone.trainable = False
        num_maps = self._method.num_maps
        others = network.inputs[len(self._method.map_shapes) :]
        return keras.Model([backbone.input, *others], network([*backbone.output[-num_maps:], *others]))

    def batches(self, seed: int, epoch: int) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
        """Yields (inputs, row numbers) of an epoch's batches of training rows."""
        run, size = self._run, self._method.batch_size
        if self._views is None:
            shuffled = run.images("train").epoch(run.train_rows, size, seed, epoch, run.config.flip)
            return (([x, *self._features("train", rows)], rows) for x, rows in shuffled)
        batches = task_building.map_batches(run, self._views, seed, epoch, batch_size=size)
        return (([*maps, *self._features("train", rows)], rows) for maps, rows in batches)

    def predict(self, model: keras.Model, split: str, rows: np.ndarray) -> np.ndarray:
        """Returns the outputs of `model` for rows of a split."""
        batches = batches_of(rows, frozen_features.BATCH)
        if self._views is None:
            images = self._run.images(split).ordered(frozen_features.BATCH, rows=rows)
            inputs = ([x, *self._features(split, batch)] for x, batch in zip(images, batches, strict=True))
        else:
            maps = self._maps(split)
            inputs = (
                [*(m[batch].astype(np.float32) for m in maps), *self._features(split, batch)]
                for batch in batches
            )
        return task_building.concatenate_outputs(model.predict_on_batch(x) for x in inputs)

    @functools.cached_property
    def _views(self) -> list[list[DiskRows]] | None:
        """The training maps, plain and perhaps mirrored; None over the disk budget."""
        return task_building.load_map_views(self._run, self._method.num_maps)

    @functools.cache  # noqa: B019 - a source lives as long as its task
    def _maps(self, split: str) -> list[DiskRows]:
        maps = frozen_features.cached_maps(self._run, split, num_maps=self._method.num_maps)
        if maps is None:
            raise RuntimeError("the maps of the training images are cached, and these are not")
        return maps

    def _features(self, split: str, rows: np.ndarray) -> list[np.ndarray]:
        """Returns f_t of some rows, if the method reads tags."""
        return [self._f_t(split)[rows]] if self._method.multi_modal else []

    @functools.cache  # noqa: B019
    def _f_t(self, split: str) -> np.ndarray:
        return frozen_features.textual_features(self._run, split)

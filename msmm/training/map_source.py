"""The sources of baselines on maps, of the frozen trunk or of a trunk that the method trains, and on f_t."""

import functools
from collections.abc import Iterator

import keras
import numpy as np

from msmm.baselines.baseline import Baseline
from msmm.data.augmentation import Augmentation
from msmm.data.input_pipeline import UNCHANGED, batches_of
from msmm.models.precision import set_precision
from msmm.scoring.predictions import Predictions
from msmm.training import batch_norm_statistics, frozen_features, model_parts, task_building
from msmm.training.baseline_source import Source
from msmm.training.disk_arrays import DiskRows
from msmm.training.fast_layers import accelerated
from msmm.training.run import Run


class MapSource(Source):
    """Maps, and f_t where the method reads tags. The run has a trained trunk, or a data set of maps.

    Over the disk budget of the cached maps, the frozen trunk is part of the model, and the inputs are images.
    """

    def __init__(self, run: Run, name: str, method: Baseline):
        super().__init__(run, name, method)
        # The source's own: a cache of the class would keep deleted maps open, which then stay on the disk.
        self._maps_of: dict[str, list[DiskRows]] = {}
        self._f_t_of: dict[str, np.ndarray] = {}

    def build(self, network: keras.Model) -> tuple[keras.Model, dict[str, keras.Model]]:
        return self._model(network), {self.name: network}

    def _model(self, network: keras.Model) -> keras.Model:
        """Returns the model from what `batches` yields to the network's outputs."""
        if self._views is not None:
            return network
        backbone = set_precision(model_parts.load_part(self.run, "backbone"), self.run.config.precision)
        backbone.trainable = False
        return self._join(backbone, network)

    def _join(self, backbone: keras.Model, network: keras.Model) -> keras.Model:
        """Returns the model from images, and the network's inputs beside the maps, to its outputs."""
        num_maps = self.method.num_maps
        others = network.inputs[len(self.method.map_shapes) :]
        return keras.Model([backbone.input, *others], network([*backbone.output[-num_maps:], *others]))

    def batches(
        self, seed: int, epoch: int, rng: np.random.Generator
    ) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
        run, size = self.run, self.method.batch_size
        if self._views is None:
            shuffled = run.images("train").epoch(run.train_rows, size, seed, epoch, run.config.flip)
            return (([x, *self._features("train", rows)], rows) for x, rows in shuffled)
        batches = task_building.map_batches(run, self._views, seed, epoch, batch_size=size)
        return (([*maps, *self._features("train", rows)], rows) for maps, rows in batches)

    def predict_held_out(self, model: keras.Model, seed: int) -> np.ndarray:
        return self._outputs(model, "train", self.run.held_out_rows)

    def predict(self, network: keras.Model, split: str, rows: np.ndarray) -> Predictions:
        return self.method.decode(self._outputs(self._model(network), split, rows))

    def _outputs(self, model: keras.Model, split: str, rows: np.ndarray) -> np.ndarray:
        """Returns the outputs of a model of `_model` for rows of a split."""
        size = min(frozen_features.BATCH, self.method.batch_size)
        batches = batches_of(rows, size)
        if self._views is None:
            images = self.run.images(split).ordered(size, rows=rows)
            inputs = ([x, *self._features(split, batch)] for x, batch in zip(images, batches, strict=True))
        else:
            maps = self._maps(split)
            inputs = ([*(m[batch] for m in maps), *self._features(split, batch)] for batch in batches)
        return task_building.concatenate_outputs(model.predict_on_batch(x) for x in inputs)

    @functools.cached_property
    def _views(self) -> list[list[DiskRows]] | None:
        """The training maps, plain and perhaps mirrored; None over the disk budget."""
        return task_building.load_map_views(self.run, self.method.num_maps)

    def _maps(self, split: str) -> list[DiskRows]:
        if split not in self._maps_of:
            maps = frozen_features.cached_maps(self.run, split, num_maps=self.method.num_maps)
            if maps is None:
                raise RuntimeError("the maps of the training images are cached, and these are not")
            self._maps_of[split] = maps
        return self._maps_of[split]

    def _features(self, split: str, rows: np.ndarray) -> list[np.ndarray]:
        """Returns f_t of some rows, if the method reads tags."""
        if not self.method.multi_modal:
            return []
        if split not in self._f_t_of:
            self._f_t_of[split] = frozen_features.textual_features(self.run, split)
        return [self._f_t_of[split][rows]]


class TrainedTrunkSource(MapSource):
    """Images, and f_t where the method reads tags. The method trains a trunk of its own below its network."""

    _views = None

    def build(self, network: keras.Model) -> tuple[keras.Model, dict[str, keras.Model]]:
        backbone = model_parts.build_backbone(self.run.config)
        parts = {f"{self.name}_backbone": backbone, self.name: network}
        return self._join(accelerated(backbone), network), parts

    def batches(
        self, seed: int, epoch: int, rng: np.random.Generator
    ) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
        changes = task_building.augmentation(self.run.config)
        return (([x, *self._features("train", rows)], rows) for x, rows in self._images(seed, epoch, changes))

    def prepare(self, trained: dict[str, keras.Model], epoch: int) -> None:
        config, seed = self.run.config, task_building.stage_seed(self.run, self.name)
        if config.bn_batches:
            whole = (x for x, _ in self._images(seed, epoch, UNCHANGED))
            backbone = trained[f"{self.name}_backbone"]
            batch_norm_statistics.reestimate(backbone, whole, config.bn_batches)

    def _images(self, seed: int, epoch: int, changes: Augmentation) -> Iterator[tuple]:
        run, size = self.run, self.method.batch_size
        images = run.images("train")
        return images.epoch(run.train_rows, size, seed, epoch, run.config.flip, augmentation=changes)

    def _model(self, network: keras.Model) -> keras.Model:
        return self._join(model_parts.load_own_backbone(self.run, self.name), network)

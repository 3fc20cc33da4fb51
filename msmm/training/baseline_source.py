"""The interface of what a baseline reads, and its two plain kinds: cached features and images.

A kind of source is one class, in `baseline_tasks.SOURCES`.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from msmm.baselines.baseline import Baseline, predict_arrays
from msmm.scoring.predictions import Predictions
from msmm.training import frozen_features, model_parts, task_building
from msmm.training.fast_layers import accelerated
from msmm.training.run import Run


class Source:
    """The inputs of a baseline.

    Attributes:
        on_features: whether its networks train on vectors, see `task.Optimisation`.

    Args:
        run: with the stages that the baseline needs.
        name: the name of the baseline.
        method: the baseline.
    """

    on_features = False

    def __init__(self, run: Run, name: str, method: Baseline):
        self.run, self.name, self.method = run, name, method

    @staticmethod
    def read_features(run: Run, split: str) -> np.ndarray | None:
        """Returns the features of a split that the baseline has, float32 [N, D]; None without features."""
        return None

    def build(self, network: keras.Model) -> tuple[keras.Model, dict[str, keras.Model]]:
        """Returns the model that trains, and its parts that are saved.

        network: the baseline's network with fresh weights.
        """
        return network, {self.name: network}

    def batches(self, seed: int, epoch: int, rng: np.random.Generator) -> Iterator[tuple[Any, np.ndarray]]:
        """Yields (inputs of the model, row numbers) of an epoch's batches of training rows.

        Args:
            seed: seeds the order of the rows.
            epoch: counted from 0.
            rng: the source of any other randomness.
        """
        raise NotImplementedError

    def prepare(self, trained: dict[str, keras.Model], epoch: int) -> None:
        """Prepares the trained parts for an evaluation, after each epoch's last step."""

    def predict_held_out(self, model: keras.Model, seed: int) -> np.ndarray:
        """Returns the outputs of the training model for the held-out images."""
        raise NotImplementedError

    def decode_held_out(self, model: keras.Model, outputs: np.ndarray) -> Predictions:
        """Returns the predictions for the held-out images. outputs: of `predict_held_out`."""
        return self.method.decode(outputs)

    def predict(self, network: keras.Model, split: str, rows: np.ndarray) -> Predictions:
        """Returns the predictions of the trained network for rows of a split."""
        raise NotImplementedError


class FeatureSource(Source):
    """Features that are computed once, and the tags; the method itself makes its inputs of them."""

    on_features = True

    def batches(self, seed: int, epoch: int, rng: np.random.Generator) -> Iterator[tuple[Any, np.ndarray]]:
        batches = task_building.epoch_batches(self.run, seed, epoch, self.method.batch_size)
        return ((self.method.inputs(rows, epoch, rng), rows) for rows in batches)

    def predict_held_out(self, model: keras.Model, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return predict_arrays(model, self.method.inputs(self.run.held_out_rows, None, rng))

    def decode_held_out(self, model: keras.Model, outputs: np.ndarray) -> Predictions:
        return self.method.predict(model, "train", self.run.held_out_rows)

    def predict(self, network: keras.Model, split: str, rows: np.ndarray) -> Predictions:
        return self.method.predict(network, split, rows)


class PretrainedFeatures(FeatureSource):
    """Features of the trunk before stage finetune."""

    @staticmethod
    def read_features(run: Run, split: str) -> np.ndarray:
        backbone = task_building.build_fresh_parts(run, "finetune", "backbone")[0]
        return frozen_features.pretrained_features(run, backbone, split)


class FinetunedFeatures(FeatureSource):
    """Features of the trunk of stage finetune."""

    read_features = staticmethod(frozen_features.cnn_features)


class GivenFeatures(FeatureSource):
    """Features of a data set of arrays."""

    read_features = staticmethod(frozen_features.given_features)


class ImageSource(Source):
    """Images. The method trains a trunk of its own below its network."""

    def build(self, network: keras.Model) -> tuple[keras.Model, dict[str, keras.Model]]:
        backbone = model_parts.build_backbone(self.run.config)
        parts = {f"{self.name}_backbone": backbone, self.name: network}
        return model_parts.build_pooled_model(accelerated(backbone), network), parts

    def batches(self, seed: int, epoch: int, rng: np.random.Generator) -> Iterator[tuple[Any, np.ndarray]]:
        run = self.run
        return run.images("train").epoch(run.train_rows, self.method.batch_size, seed, epoch, run.config.flip)

    def predict_held_out(self, model: keras.Model, seed: int) -> np.ndarray:
        return task_building.predict_held_out_images(self.run, model)

    def predict(self, network: keras.Model, split: str, rows: np.ndarray) -> Predictions:
        run = self.run
        model = model_parts.build_pooled_model(model_parts.load_own_backbone(run, self.name), network)
        batches = run.images(split).ordered(frozen_features.BATCH, rows=rows)
        return self.method.decode(
            task_building.concatenate_outputs(model.predict_on_batch(b) for b in batches)
        )

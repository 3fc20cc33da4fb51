"""The interface of a baseline."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from msmm.models import losses, optimizers
from msmm.scoring.predictions import Predictions

_BATCH = 256
_PIECE = 16 * _BATCH  # rows whose inputs are in memory at once


@dataclasses.dataclass(frozen=True)
class Examples:
    """The images of a split, row by row.

    Attributes:
        features: float32 [N, D], the average-pooled M_5 of the method's trunk; None if it trains on images or
            maps.
        tags: bool [N, T].
        labels: bool [N, C].
    """

    features: np.ndarray | None
    tags: np.ndarray
    labels: np.ndarray


class Baseline:
    """Base class of the baselines; by default a linear head on the features that ranks labels.

    Attributes:
        title: its row in Tables III and IV.
        trunk: whose features it reads: "pretrained" (the ImageNet weights unchanged), "finetuned" (the
            trunk of stage finetune) or "own" (trained by its own loss, from the pretrained trunk). What is
            available decides in the end: `training.baseline_tasks.choose_trunk`.
        multi_modal: whether it reads tags.
        predicts_quantity: whether it predicts the number of labels.
        score_at_half_probability: the score of a label of probability 0.5: 0.5 if scores are probabilities,
            0 if they are logits, else None.
        num_maps: the maps of the frozen trunk that it reads in place of features: 0, 1 (M_5) or 5, see
            `map_head.MapHead`.
        batch_size: images.

    Args:
        config: all settings; the method's own group has its name.
        splits: "train" and "test". The split "train" holds the held-out images too.
        feature_size: D.
        cache: (kind, key, num_rows, compute, dtype) -> arrays kept on disk, see
            `array_cache.cache_arrays`.
        train_rows: the rows of "train" that train, int64 [n]. Whatever a method counts it counts in these:
            `train_labels`, `train_tags`.
        map_shapes: (h, w, D) of the maps that it reads, if any.
        textual_size: the size of f_t, if it reads f_t.
    """

    title: str
    trunk = "finetuned"
    multi_modal = False
    predicts_quantity = False
    score_at_half_probability: float | None = None
    num_maps = 0
    batch_size = 128

    def __init__(
        self,
        config,
        splits: Mapping[str, Examples],
        feature_size: int,
        cache: Callable,
        train_rows: np.ndarray,
        map_shapes: Sequence[tuple[int, ...]] = (),
        textual_size: int = 0,
    ):
        self.config, self.splits, self.feature_size, self.cache = config, splits, feature_size, cache
        self.train_rows, self.map_shapes, self.textual_size = train_rows, map_shapes, textual_size
        self.num_classes = splits["train"].labels.shape[1]

    @property
    def train_labels(self) -> np.ndarray:
        """The labels of the rows that train, bool [n, C]."""
        return self.splits["train"].labels[self.train_rows]

    @property
    def train_tags(self) -> np.ndarray:
        """The tags of the rows that train, bool [n, T]."""
        return self.splits["train"].tags[self.train_rows]

    def build(self) -> keras.Model:
        """Builds the network with fresh weights, all that is saved: features [B, D] -> logits [B, C]."""
        feature = keras.Input((self.feature_size,), name="feature")
        return keras.Model(feature, keras.layers.Dense(self.num_classes, name="logits")(feature))

    def loss(self, targets, outputs):
        """Returns the loss of (targets, outputs of the network), [B]."""
        return losses.sigmoid_cross_entropy(targets, outputs)

    def optimizer(self, learning_rate: float, steps: int) -> keras.optimizers.Optimizer:
        """Returns the optimiser for a total of `steps`; a tenth of the rate from two thirds on (decision 4).

        A trunk is trained as in stage finetune (decision 6), a network on fixed features by Adam.
        """
        rate = optimizers.schedule(learning_rate, steps)
        if self.trunk == "own":
            return optimizers.Momentum(rate, self.config.momentum, self.config.weight_decay)
        return keras.optimizers.Adam(rate)

    def penalties(self) -> list[float]:
        """Returns the penalties λ of a method that `solve` fits to its optimum; none: steps train it.

        Of several, the one with the lowest held-out loss is kept.
        """
        return []

    def solve(self, network: keras.Model, penalty: float, advance: Callable[[], None]) -> dict[str, float]:
        """Fits the network to its optimum for one of `penalties`, and returns figures, the loss among them.

        Args:
            network: its weights are where the fit begins, and become the optimum.
            penalty: λ.
            advance: called after each iteration.
        """
        raise NotImplementedError

    def inputs(self, rows: np.ndarray, epoch: int | None, rng: np.random.Generator):
        """Returns the network's inputs for training rows: an array or list of arrays [B, …].

        Args:
            rows: of the training split.
            epoch: None for held-out images.
            rng: the only source of randomness, so that a resumed training is bit-equal.
        """
        return self.split_inputs("train", rows)

    def split_inputs(self, split: str, rows: np.ndarray):
        """Returns the network's inputs for rows of a split: an array or list of arrays [B, …]."""
        return self.features(split)[rows]

    def targets(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the targets of `loss` for training rows, [B, …]."""
        return self.splits["train"].labels[rows]

    def predict(self, network: keras.Model, split: str, rows: np.ndarray) -> Predictions:
        """Returns the predictions for some rows of a split."""
        pieces = [rows[i : i + _PIECE] for i in range(0, max(1, len(rows)), _PIECE)]
        outputs = [predict_arrays(network, self.split_inputs(split, piece)) for piece in pieces]
        return self.decode(np.concatenate(outputs))

    def decode(self, outputs: np.ndarray) -> Predictions:
        """Returns the predictions of the network's outputs [B, C]."""
        return Predictions(outputs)

    def features(self, split: str) -> np.ndarray:
        """Returns the features of a split, float32 [N, D]."""
        features = self.splits[split].features
        if features is None:
            raise ValueError(f"{type(self).__name__} trains on images here: it has no features")
        return features


def predict_arrays(network: keras.Model, inputs) -> np.ndarray:
    """Returns the outputs of a network for arrays of any length, batch by batch."""
    arrays = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    outputs = []
    for start in range(0, len(arrays[0]), _BATCH):
        batch = [np.asarray(array[start : start + _BATCH]) for array in arrays]
        output = network.predict_on_batch(batch if len(batch) > 1 else batch[0])
        outputs.append(keras.ops.convert_to_numpy(output))
    return np.concatenate(outputs)

"""What a compared method gets and gives."""

import dataclasses
from collections.abc import Callable, Mapping

import keras
import numpy as np

from msmm.models import losses, optimizers
from msmm.scoring.predictions import Annotations

_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Examples:
    """A split, row by row.

    features: float32 [N, D], the average-pooled M_5 of the method's trunk; None where it trains on images.
    tags: bool [N, T]. labels: bool [N, C].
    """

    features: np.ndarray | None
    tags: np.ndarray
    labels: np.ndarray


class Method:
    """One compared method: class attributes that describe it, and what differs between methods.

    The defaults are those of a method that ranks labels by a linear head on the features.

    title: its row in Tables III and IV.
    trunk: whose features it reads: "pretrained" (the ImageNet weights as they are), "finetuned" (the
        trunk of stage finetune) or "own" (trained by its own loss, from the pretrained one).
    multi_modal: whether it reads tags. quantity: whether it says how many labels to keep.
    batch_size: images.

    Args:
        config: all settings; the method's own begin with its name.
        splits: "train" and "test". What a method counts (frequencies, co-occurrence), it counts in "train".
        feature_size: D.
        cached: (kind, key, num_rows, batches, dtype) -> arrays kept on disk, see `features.cached`.
    """

    title: str
    trunk = "finetuned"
    multi_modal = False
    quantity = False
    batch_size = 128

    def __init__(self, config, splits: Mapping[str, Examples], feature_size: int, cached: Callable):
        self.config, self.splits, self.feature_size, self.cached = config, splits, feature_size, cached
        self.num_classes = splits["train"].labels.shape[1]

    def build(self) -> keras.Model:
        """The network with fresh weights, which holds all that is saved: features [B, D] -> logits [B, C]."""
        feature = keras.Input((self.feature_size,), name="feature")
        return keras.Model(feature, keras.layers.Dense(self.num_classes, name="logits")(feature))

    def loss(self, targets, outputs):
        """Loss of (targets, outputs of the network) -> [B]."""
        return losses.sigmoid_cross_entropy(targets, outputs)

    def optimizer(self, learning_rate: float, steps: int) -> keras.optimizers.Optimizer:
        """The optimiser for `steps` steps in all; a tenth of the rate from two thirds on (decision 4).

        A trunk is trained as in stage finetune (decision 6), what stands on fixed features by Adam.
        """
        rate = optimizers.schedule(learning_rate, steps)
        if self.trunk == "own":
            return optimizers.Momentum(rate, self.config.momentum, self.config.weight_decay)
        return keras.optimizers.Adam(rate)

    def inputs(self, rows: np.ndarray, epoch: int | None, rng: np.random.Generator):
        """What the network reads of training rows while it trains: an array or list of arrays [B, …].

        epoch: None for held-out images. rng: all chance comes from it, so that a killed run goes on alike.
        """
        return self.splits["train"].features[rows]

    def targets(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What `loss` compares with for training rows, [B, …]."""
        return self.splits["train"].labels[rows]

    def annotate(self, network: keras.Model, split: str, rows: np.ndarray) -> Annotations:
        """What the method says of some rows of a split."""
        return self.decode(predict(network, self.splits[split].features[rows]))

    def decode(self, outputs: np.ndarray) -> Annotations:
        """Outputs of the network [B, C] to annotations."""
        return Annotations(outputs)


def predict(network: keras.Model, inputs) -> np.ndarray:
    """The outputs of a network for arrays of any length, batch by batch."""
    arrays = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    outputs = []
    for start in range(0, len(arrays[0]), _BATCH):
        batch = [np.asarray(array[start : start + _BATCH]) for array in arrays]
        said = network.predict_on_batch(batch if len(batch) > 1 else batch[0])
        outputs.append(keras.ops.convert_to_numpy(said))
    return np.concatenate(outputs)

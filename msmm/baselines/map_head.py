"""The base of the modern heads: methods that read maps of a trunk, and with tags f_t beside.

    z = z_v(M_5),        with tags z = z_v(M_5) + W f_t + b

f_t is the feature of stage textual, frozen. The sum is the same for all heads, as they have no common pooled
feature. The map is the one of the trunk of stage finetune, of a trunk that the head trains (setting `trunk`),
or the data set's own.
"""

import functools
from typing import Any

import keras
import numpy as np

from msmm.baselines.baseline import Baseline
from msmm.models import losses, optimizers


class MapHead(Baseline):
    """A head on maps; a subclass has a title and `logits`.

    Attributes:
        name: of its line in the registry, which is its group of settings.
    """

    name: str
    score_at_half_probability = 0.0
    num_maps = 1
    batch_size = 64

    @classmethod
    def with_tags(cls) -> type["MapHead"]:
        """Returns the method that reads tags too."""
        return type(f"{cls.__name__}Tags", (cls,), {"title": f"{cls.title}+Tags", "multi_modal": True})

    def logits(self, maps):
        """Returns z_v, [B, C].

        maps: the last map M_5, float32 [B, h, w, D]; the list of all maps if `num_maps` is 5.
        """
        raise NotImplementedError

    def build(self) -> keras.Model:
        """Builds maps [B, h, w, D], with tags also f_t [B, D_t] -> logits [B, C]."""
        maps = [keras.Input(shape, name=f"map{i}") for i, shape in enumerate(self.map_shapes, 1)]
        logits = self.logits(maps if self.num_maps > 1 else maps[0])
        if not self.multi_modal:
            return keras.Model(maps, logits)
        f_t = keras.Input((self.textual_size,), name="f_t")
        from_tags = keras.layers.Dense(self.num_classes, name="tag_logits")(f_t)
        return keras.Model([*maps, f_t], keras.layers.Add()([logits, from_tags]))

    @property
    def settings(self) -> Any:
        """The group of settings of this head."""
        return getattr(self.config, self.name)

    @functools.cached_property
    def _loss(self):
        return losses.label_loss(self.settings.loss, self.config.asymmetric)

    def loss(self, targets, outputs):
        """Returns the loss that the setting `loss` names, [B]."""
        return self._loss(targets, outputs)

    def optimizer(self, learning_rate, steps):
        """Returns AdamW with cosine decay, or Adam, with a moving average of the weights if set."""
        ema = self.settings.ema
        if self.settings.optimizer == "adamw":
            return optimizers.adamw(learning_rate, steps, ema)
        rate = optimizers.schedule(learning_rate, steps)
        return keras.optimizers.Adam(rate, use_ema=ema > 0, ema_momentum=ema)

    def features(self, split: str) -> np.ndarray:
        raise ValueError(f"{type(self).__name__} reads maps: it has no features")

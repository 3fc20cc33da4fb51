"""Query2Label: Liu, Zhang, Yang, Su, Zhu, "Query2Label: A Simple Transformer Way to Multi-Label
Classification" (2021).

The places of the map M_5, projected to d units, pass an encoder layer. C trained queries, one per class, pass
two decoder layers: self-attention, attention to the places, feed-forward, each followed by LN(x + drop(…)).
Sine codes of the places are added to queries and keys that are places, never to values:

    z_c = w_c h_c + b_c,    h_c the query of class c after the last layer

Decided: d = 256 and 1,024 hidden units (`query2label_width`, `query2label_hidden`; the source has 2,048 and
8,192 on a fine-tuned trunk), with its 4 attention heads and dropout 0.1; the queries are the decoder's first
input. With 81 classes on ResNet-101's 2,048 channels it has 3,462,737 parameters.
"""

import numpy as np
from keras import layers

from msmm.baselines.map_head import MapHead
from msmm.baselines.query_layers import (
    GroupLogits,
    Queries,
    add_and_norm,
    attend,
    feed_forward,
    flatten_places,
)

HEADS = 4
ENCODER_LAYERS, DECODER_LAYERS = 1, 2
ATTENTION_PAIRS = 2**25  # pairs of queries in a batch: half a GiB per layer, with 4 heads in float32
_TEMPERATURE = 10_000


class Query2Label(MapHead):
    title = "Query2Label"
    name = "query2label"

    @property
    def batch_size(self) -> int:  # type: ignore[override]
        """Images per step: fewer where attention among so many classes would fill the memory."""
        return max(1, min(super().batch_size, ATTENTION_PAIRS // self.num_classes**2))

    def logits(self, maps):
        width, hidden = self.settings.width, self.settings.hidden
        codes = sine_codes(*maps.shape[1:3], width)
        places = layers.Dense(width, name="projection")(flatten_places(maps))
        for i in range(ENCODER_LAYERS):
            keys = places + codes
            places = add_and_norm(
                places, attend(keys, keys, places, HEADS, f"encoder{i}"), f"encoder{i}_norm"
            )
            places = feed_forward(places, hidden, f"encoder{i}_feed_forward")
        queries = Queries(self.num_classes, width, trained=True, name="queries")(places)
        for i in range(DECODER_LAYERS):
            among = attend(queries, queries, queries, HEADS, f"decoder{i}_self")
            queries = add_and_norm(queries, among, f"decoder{i}_self_norm")
            found = attend(queries, places + codes, places, HEADS, f"decoder{i}")
            queries = add_and_norm(queries, found, f"decoder{i}_norm")
            queries = feed_forward(queries, hidden, f"decoder{i}_feed_forward")
        return GroupLogits(self.num_classes, name="logits")(queries)


def sine_codes(height: int, width: int, size: int) -> np.ndarray:
    """Returns sine codes of the places of a map, float32 [1, height · width, size].

    The first half of a code is of the row, the second of the column. Row r of h is the angle 2π (r + 1) / h;
    entries 2i and 2i + 1 of a half are sine and cosine of the angle divided by 10000^(2i / half).
    """
    half = size // 2
    frequencies = _TEMPERATURE ** (-2 * (np.arange(half) // 2) / half)

    def codes(count: int) -> np.ndarray:
        angles = 2 * np.pi * np.arange(1, count + 1)[:, None] / count * frequencies
        return np.where(np.arange(half) % 2, np.cos(angles), np.sin(angles))

    rows = np.repeat(codes(height)[:, None], width, axis=1)
    columns = np.repeat(codes(width)[None], height, axis=0)
    return np.concatenate([rows, columns], axis=2).reshape(1, -1, size).astype(np.float32)

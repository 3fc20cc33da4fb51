"""ML-Decoder: Ridnik, Sharir, Ben-Cohen, Ben-Baruch, Noy, "ML-Decoder: Scalable and Versatile Classification
Head" (WACV 2023).

The memory is ReLU(W x_j + b), 768 units, at each place j of the map M_5. G = min(100, C) fixed queries q of
768 (`ml_decoder_queries`: 100) pass one decoder layer without self-attention:

    q ← LN(q + drop(q)),  q ← LN(q + drop(MHA(q, memory, memory))),  q ← LN(q + drop(FFN(q)))

with 8 attention heads, 2,048 hidden units and dropout 0.1. Query g gives ⌈C/G⌉ logits (`GroupLogits`). With
81 classes on ResNet-101's 2,048 channels it has 7,151,441 trained parameters. The source fine-tunes its
trunk; here the trunk is frozen, unless `ml_decoder_trunk` is trained.
"""

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

WIDTH = 768
HEADS = 8
HIDDEN = 2048


class MlDecoder(MapHead):
    title = "ML-Decoder"
    name = "ml_decoder"

    def logits(self, maps):
        memory = layers.Dense(WIDTH, activation="relu", name="memory")(flatten_places(maps))
        count = min(self.settings.queries, self.num_classes)
        queries = Queries(count, WIDTH, trained=False, name="queries")(memory)
        queries = add_and_norm(queries, queries, "queries_norm")
        found = attend(queries, memory, memory, HEADS, "attention")
        queries = add_and_norm(queries, found, "attention_norm")
        return GroupLogits(self.num_classes, name="logits")(feed_forward(queries, HIDDEN, "feed_forward"))

"""The metrics for users, `msmm.metrics`: those of the tables on NumPy arrays, and H-F1 as a Keras metric.

`annotation_metrics` computes eq. 6-7, `quantity_metrics` the accuracy and MSE of label quantities, and
`average_precision`, `mean_average_precision` and `ranking_metrics` what the paper does not print. Equal
scores of average precision are one threshold, as in scikit-learn; `ties="rows"` ranks the lower row first.
"""

import keras
from keras import ops

from msmm.scoring.metrics import annotation_metrics, metrics_from_counts, per_class_f1, quantity_metrics
from msmm.scoring.ranking_metrics import average_precision, mean_average_precision, ranking_metrics

__all__ = [
    "TopKHF1",
    "annotation_metrics",
    "average_precision",
    "mean_average_precision",
    "per_class_f1",
    "quantity_metrics",
    "ranking_metrics",
]


@keras.saving.register_keras_serializable("msmm")
class TopKHF1(keras.metrics.Metric):
    """H-F1 in percent of the k most probable labels per image: the harmonic mean of C-F1 and I-F1 (eq. 6-7).

    It takes labels [B, C] in {0, 1} and scores [B, C]; probabilities and logits give the same.
    """

    def __init__(self, num_classes: int, k: int = 3, name: str = "h_f1", **kwargs):
        super().__init__(name=name, **kwargs)
        self.num_classes, self.k = num_classes, k
        # Per class: chosen rightly, chosen, true.
        self.counts = self.add_weight(shape=(3, num_classes), initializer="zeros", name="counts")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts a batch."""
        truth = ops.cast(y_true, "float32")
        best = ops.top_k(y_pred, min(self.k, self.num_classes))[1]
        chosen = ops.sum(ops.one_hot(best, self.num_classes, dtype="float32"), axis=1)
        self.counts.assign_add(ops.stack([ops.sum(x, axis=0) for x in (chosen * truth, chosen, truth)]))

    def result(self):
        """Returns H-F1 in percent of all images so far."""
        correct, chosen, true = ops.unstack(self.counts, num=3)
        return metrics_from_counts(correct, chosen, true, ops)["H-F1"]

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "num_classes": self.num_classes, "k": self.k}

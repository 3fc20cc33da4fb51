"""The held-out figures of stages that choose labels, and the figure that chooses the kept epoch."""

import numpy as np

from msmm.configs.base import Config
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.ranking_metrics import MEAN_AP, mean_average_precision


def held_out_figures(
    truth: np.ndarray, chosen: np.ndarray, scores: np.ndarray | None = None
) -> dict[str, float]:
    """Returns the figures of a classification stage.

    Args:
        truth, chosen: bool [n, C].
        scores: float [n, C], for mAP; None where the method does not score every label.
    """
    metrics = annotation_metrics(truth, chosen)
    figures = {name: metrics[name] for name in ("C-F1", "I-F1", "H-F1")}
    if scores is not None and truth.any():  # mAP needs a positive
        figures[MEAN_AP] = mean_average_precision(truth, scores)
    return figures


def select_by(config: Config, truth: np.ndarray, scores_labels: bool = True) -> dict:
    """Returns the fields of `Evaluation` that choose the kept epoch by the setting `selection`.

    Without a positive label the setting `map` selects by the loss. A method that does not score every label
    has no mAP; it selects by H-F1, which goes on rising after its loss is lowest (decision 25).

    Args:
        config: with the setting.
        truth: of the held-out images, bool [n, C].
        scores_labels: whether the method scores every label.
    """
    figure = {"loss": "loss", "map": MEAN_AP, "h_f1": "H-F1"}[config.selection]
    if figure == MEAN_AP and not truth.any():
        figure = "loss"
    elif figure == MEAN_AP and not scores_labels:
        figure = "H-F1"
    return {"select": figure, "smaller_is_better": figure == "loss"}

"""A training task, the input of the training loop: model, data, optimisation and evaluation."""

import dataclasses
from collections.abc import Callable, Iterable

import keras
import numpy as np

_OUTPUTS = 2**22  # for which a held-out loss is computed at once


class DivergedError(Exception):
    """The loss is no longer finite."""


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The batches of a task.

    Attributes:
        batches: epoch number -> batches (x, y); where `shareable`, also (epoch number, Share) -> a worker's
            share of each batch.
        steps_per_epoch: number of batches.
        shareable: whether replicas can share a step.
    """

    batches: Callable[..., Iterable]
    steps_per_epoch: int
    shareable: bool = False


@dataclasses.dataclass(frozen=True)
class Optimisation:
    """The optimisation of a task.

    Attributes:
        loss: (y, outputs) -> [B].
        learning_rate: initial, a step.
        epochs: at most.
        make_optimizer: (learning rate, total steps) -> optimiser; None: the paper's (IV-A3).
        on_features: whether the setting `head_schedule` decides when the learning rate drops.
    """

    loss: Callable
    learning_rate: float
    epochs: int
    make_optimizer: Callable[[float, int], keras.optimizers.Optimizer] | None = None
    on_features: bool = False


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The evaluation of a task on the n held-out images.

    Attributes:
        predict: model -> outputs [n, …].
        ground_truth: y of the held-out images, [n, …].
        measure: (model, outputs) -> figures by name.
        select: the figure that decides which epoch is kept; larger is better unless `smaller_is_better`. Of
            epochs that are equal except for rounding the first is kept.
        choose_labels: (model, outputs) -> chosen labels, bool [n, C]; None for a regressor.
        rank_labels: (model, outputs) -> scores, float [n, C], for average precision; None where the method
            does not score every label.
        prepare: called with (the trained parts, the epoch number) after each epoch's last step.
    """

    predict: Callable[[keras.Model], np.ndarray]
    ground_truth: np.ndarray
    measure: Callable[[keras.Model, np.ndarray], dict[str, float]]
    select: str
    smaller_is_better: bool = False
    choose_labels: Callable[[keras.Model, np.ndarray], np.ndarray] | None = None
    rank_labels: Callable[[keras.Model, np.ndarray], np.ndarray] | None = None
    prepare: Callable[[dict[str, keras.Model], int], None] | None = None

    def score(self, figures: dict[str, float]) -> float:
        """Returns the selecting figure, larger for better."""
        return -figures[self.select] if self.smaller_is_better else figures[self.select]


@dataclasses.dataclass(frozen=True)
class Grid:
    """Penalties of a model that a solver fits to its optimum, once for each, instead of steps that train it.

    Attributes:
        penalties: in the order in which they are fitted, each from the optimum before.
        solve: (model, penalty, function to call after each iteration) -> figures of training, "loss" among
            them.
    """

    penalties: list[float]
    solve: Callable[[keras.Model, float, Callable[[], None]], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Task:
    """The training of a stage.

    Attributes:
        name: the stage.
        build: returns (model from the batches' x to its outputs, the parts of it that train, by name). Their
            fresh weights are the same at each call.
        data, optimisation, evaluation: see their classes.
        untrained: parts that are saved with the stage as they are.
        grid: of a task that a solver fits.
    """

    name: str
    build: Callable[[], tuple[keras.Model, dict[str, keras.Model]]]
    data: TrainingData
    optimisation: Optimisation
    evaluation: Evaluation
    untrained: dict[str, keras.Model] = dataclasses.field(default_factory=dict)
    grid: Grid | None = None

    def evaluate(self, model: keras.Model) -> tuple[np.ndarray, dict[str, float]]:
        """Returns the outputs for held-out images and the figures, the loss among them.

        Raises:
            DivergedError: an output or a figure is not finite.
        """
        evaluation = self.evaluation
        outputs = evaluation.predict(model)
        if not np.isfinite(outputs).all():
            raise DivergedError("the outputs for held-out images were not finite")
        figures = {"loss": self._held_out_loss(outputs), **evaluation.measure(model, outputs)}
        if not np.isfinite(np.array(list(figures.values()), np.float32)).all():
            raise DivergedError("a held-out figure was beyond float32")
        return outputs, figures

    def _held_out_loss(self, outputs: np.ndarray) -> float:
        """Returns the mean loss of held-out images, for some at a time where the outputs are many."""
        size = max(1, len(outputs) if outputs.size <= _OUTPUTS else _OUTPUTS // outputs[0].size)
        truth = self.evaluation.ground_truth
        losses = [
            self.optimisation.loss(truth[i : i + size], keras.ops.convert_to_tensor(outputs[i : i + size]))
            for i in range(0, len(outputs), size)
        ]
        return float(keras.ops.mean(keras.ops.concatenate(losses)))

"""The rows of Tables I and II: the complete model and what is left of it without some components (IV-B)."""

import dataclasses
import importlib.metadata
import pathlib

import numpy as np

import msmm
from msmm import configs, quantities
from msmm.data.input_pipeline import batches_of
from msmm.inference import engines, model_dir
from msmm.inference.engines import second_look
from msmm.models.annotator import annotator
from msmm.quantities import HeldOut
from msmm.quantities.held_out import sigmoid
from msmm.scoring.metrics import annotation_metrics, per_class_f1, quantity_metrics
from msmm.scoring.predictions import Annotations, choose, round_counts
from msmm.training import frozen_features, model_parts
from msmm.training.run import Run

COMPLETE = "MS-CNN+Tags+LQP"
WITHOUT_TAGS = "MS-CNN+LQP"


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row: which part ranks, which one counts.

    scorer: the part whose logits rank the labels.
    counter: the part that predicts the quantity, "truth" (the upper bound) or None (top k).
    tags, quantity: the row's two columns in the paper.
    """

    scorer: str
    counter: str | None
    tags: bool
    quantity: bool

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that train its parts."""
        wanted = [self.scorer] + ([self.counter] if self.counter in model_parts.STAGE_OF else [])
        return tuple(model_parts.STAGE_OF[part] for part in wanted)


VARIANTS: dict[str, Variant] = {
    "Upper bound": Variant("classifier", "truth", True, True),
    COMPLETE: Variant("classifier", "quantity", True, True),
    "MS-CNN+LQP": Variant("visual_head", "visual_quantity", False, True),
    "MS-CNN+Tags": Variant("classifier", None, True, False),
    "MS-CNN": Variant("visual_head", None, False, False),
    "CNN": Variant("cnn_head", None, False, False),
}
# Not in the paper: what the tags alone can do, to see what the pixels add to them.
TAGS_ONLY = {"Tags (MLP alone)": Variant("textual_head", None, True, False)}

# The regressor that looks at what a classifier looks at.
_COUNTER_OF = {"classifier": "quantity", "visual_head": "visual_quantity"}
_FEATURE_OF = {
    "cnn_head": frozen_features.cnn,
    "visual_head": frozen_features.visual,
    "textual_head": frozen_features.textual,
    "classifier": frozen_features.joint,
    "quantity": frozen_features.joint,
    "visual_quantity": frozen_features.visual,
}


def counting(variant: Variant) -> Variant:
    """The row with the regressor that its classifier's features have. Raises ValueError where none has."""
    if variant.scorer not in _COUNTER_OF:
        raise ValueError(f"no regressor looks at the features of {variant.scorer}")
    return dataclasses.replace(variant, counter=_COUNTER_OF[variant.scorer], quantity=True)


def annotate(run: Run, variant: Variant, split: str = "test", quantity: str | None = None) -> Annotations:
    """What a row says of a split: scores, and counts where it predicts them.

    Scores are probabilities. The upper bound's counts are the true ones; without quantity prediction
    they are k. With `quantity`, one of `quantities.ESTIMATORS` or "best", that estimator, fitted on
    held-out images, gives scores and counts instead.
    """
    if quantity:
        raw = raw_quantity(run, counting(variant), split)
        images = held_out(run, variant)
        best = quantity == quantities.BEST
        estimator = quantities.fit(images) if best else quantities.ESTIMATORS[quantity].fit(images)
        return estimator.annotate(probabilities(run, variant, split), raw)
    scores = probabilities(run, variant, split)
    if variant.counter == "truth":
        counts = run.split(split).counts.astype(np.int32)
    elif variant.counter:
        counts = round_counts(raw_quantity(run, variant, split), scores.shape[1])
    else:
        counts = np.full(len(scores), run.config.k, np.int32)
    return Annotations(scores, counts)


def held_out(run: Run, variant: Variant) -> HeldOut:
    """What estimators of the label quantity are fitted on: the held-out training images, as a row's
    classifier and the regressor on its features see them."""
    rows, labels = run.held_out_rows, run.split("train").labels
    raw = raw_quantity(run, counting(variant), "train", rows)
    return HeldOut(probabilities(run, variant, "train", rows), raw, labels[rows], run.config.k)


def probabilities(run: Run, variant: Variant, split: str, rows: np.ndarray | None = None) -> np.ndarray:
    """The probabilities of a row's classifier, float32 [N, C], or of some rows of the split."""
    return sigmoid(outputs(run, variant.scorer, split, rows))


def raw_quantity(
    run: Run, variant: Variant, split: str = "test", rows: np.ndarray | None = None
) -> np.ndarray:
    """A row's predicted label quantities before rounding, float32 [N], or of some rows of the split."""
    return outputs(run, variant.counter, split, rows)[:, 0]


def outputs(run: Run, part: str, split: str, rows: np.ndarray | None = None) -> np.ndarray:
    """The outputs of a trained head on its feature, float32 [N, C] or [N, 1]; or of some rows alone."""
    feature = _FEATURE_OF[part](run, split)
    model = model_parts.load(run, part)
    batches = batches_of(np.arange(len(feature)) if rows is None else rows, 256)
    return np.concatenate([np.asarray(model.predict_on_batch(feature[rows])) for rows in batches])


def measure(
    run: Run, variant: Variant, split: str = "test", quantity: str | None = None
) -> tuple[np.ndarray, dict[str, float]]:
    """The labels that a row chooses, bool [N, C], and all its figures (eq. 6-7, IV-D1).

    quantity: as for `annotate`. Accuracy and MSE are then those of the counts that it says, which are
    whole; a row's own are those of the regressor's raw values.
    """
    truth = run.split(split)
    said = annotate(run, variant, split, quantity)
    chosen = choose(said)
    figures = annotation_metrics(truth.labels, chosen)
    if quantity:
        figures |= quantity_metrics(truth.counts, said.counts)
    elif variant.counter in model_parts.STAGE_OF:
        figures |= quantity_metrics(truth.counts, raw_quantity(run, variant, split))
    return chosen, figures


def save_model(run: Run) -> pathlib.Path | None:
    """Writes the complete model, and the estimators of label quantities fitted for it, as a model directory
    in the run's, and returns its path; None with the setting `groups`, as photographs have none to say."""
    if run.config.groups:
        return None
    heads = ("classifier", "quantity", "visual_head", "visual_quantity")
    network = annotator(*(model_parts.load(run, n) for n in ("backbone", "multi_scale", "textual", *heads)))
    chosen, figures = measure(run, VARIANTS[COMPLETE])
    train, test = run.split("train"), run.split("test")
    f1 = per_class_f1(test.labels, chosen)
    fitted = {name: quantities.fit(held_out(run, VARIANTS[name])) for name in (COMPLETE, WITHOUT_TAGS)}

    def by_default(name):
        said = fitted[name].annotate(
            probabilities(run, VARIANTS[name], "test"), raw_quantity(run, VARIANTS[name])
        )
        return annotation_metrics(test.labels, choose(said))

    info = {
        "msmm": msmm.__version__,
        "versions": {name: importlib.metadata.version(name) for name in ("keras", "tensorflow")},
        "dataset": run.dataset.name,
        "description": run.dataset.description,
        "licence": run.dataset.licence,
        "images": {split: run.dataset.num_examples(split) for split in run.dataset.splits},
        "seed": run.seed,
        "settings": {name: value for name, value, _ in configs.describe(run.config)},
        "test": figures,
        "test with the chosen quantity": by_default(COMPLETE),
        "test without tags": measure(run, VARIANTS[WITHOUT_TAGS])[1],
        "test without tags with the chosen quantity": by_default(WITHOUT_TAGS),
        "classes": [
            {"train": int(train.labels[:, j].sum()), "test": int(test.labels[:, j].sum()), "F1": float(f1[j])}
            for j in range(len(run.dataset.labels))
        ],
    }
    directory = run.model_directory
    files = dict(zip(model_dir.QUANTITIES, fitted.values(), strict=True))
    model_dir.save(directory, network, run.dataset.labels, run.dataset.tags, info, files)
    rows = run.held_out_rows[: second_look.IMAGES]
    engines.prepare(directory, run.images("train").take(rows), train.tags[rows])
    return directory

"""The directory of the starter model: the converted network, vocabularies, counting rules and card."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from experiments.starter import card, counting
from experiments.starter.choosing import Candidate
from experiments.starter.labels import OBJECTS
from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.files import atomic_directory, read_json, write_json, write_lines
from msmm.inference import engines, model_dir
from msmm.inference.exporting.formats import write_openvino
from msmm.inference.model import sizes_of
from msmm.quantities.fitting import FittedCountingRules
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import choose_labels
from msmm.scoring.ranking_metrics import average_precision, ranking_metrics
from msmm.training import table_predictions
from msmm.training.run import Run
from msmm.training.table_rows import COMPLETE, TABLE_ROWS, WITHOUT_TAGS

LARGEST = 30 * 2**20  # bytes of the directory
TOLERANCE = 0.02  # largest change of a probability by weights in float16
DEFAULT = "class_thresholds"  # the counting rule whose thresholds are fitted for precision
CHECKED = 64  # test photographs on which the converted network is compared
# How an input is called in the figures -> its row of Table I, and the file of its counting rules.
INPUTS = {
    "with tags": (COMPLETE, model_dir.QUANTITIES[0]),
    "pixels alone": (WITHOUT_TAGS, model_dir.QUANTITIES[1]),
}


@dataclasses.dataclass(frozen=True)
class Targets:
    """Precision that the default counting reaches on held-out photographs, 0 to 1.

    Attributes:
        objects: by the annotated objects.
        nouns: by the captions, which do not name all that a photograph shows.
    """

    objects: float
    nouns: float


def package(
    run: Run, directory: pathlib.Path, candidates: Sequence[Candidate], rule: dict, targets: Targets
) -> dict:
    """Writes the directory of the starter model, whole or not at all, and returns its figures.

    Args:
        run: the run whose stages have all finished.
        directory: is replaced if it exists.
        candidates: of `choosing.choose_nouns`.
        rule: the bounds by which the nouns were chosen.
        targets: of the default counting.

    Raises:
        UserError: the directory would be too large, or its network differs from the run's.
    """
    source = table_predictions.save_model(run)
    fitted = {
        name: fit_default(FittedCountingRules.from_json(read_json(source / file), len(run.dataset.labels)),
                          table_predictions.predict_held_out(run, TABLE_ROWS[row]), is_object(run), targets)
        for name, (row, file) in INPUTS.items()
    }  # fmt: skip
    figures = {name: measure(run, TABLE_ROWS[row], fitted[name]) for name, (row, _) in INPUTS.items()}
    info = describe(run, read_json(source / "model.json"), figures, candidates, rule, targets)
    with atomic_directory(directory) as partial:
        _write_network(source, partial)
        write_lines(partial / "labels.txt", run.dataset.labels)
        write_lines(partial / "tags.txt", run.dataset.tags)
        write_json(partial / "model.json", info)
        for name, (_, file) in INPUTS.items():
            write_json(partial / file, fitted[name].to_json())
        (partial / "README.md").write_text(card.starter_card(info, run.dataset.labels), encoding="utf-8")
        checksums.write(partial, {path.name for path in partial.iterdir()} - {"README.md"})
        _check(run, source, partial)
    return figures


def is_object(run: Run) -> np.ndarray:
    """Returns which labels are objects, bool [C]; the others are nouns."""
    return np.isin(run.dataset.labels, list(OBJECTS.values()))


def fit_default(fitted: FittedCountingRules, held_out, objects: np.ndarray, targets: Targets):
    """Returns fitted counting rules with thresholds for precision, which are the chosen rule."""
    precise = counting.fit_precise_thresholds(held_out, objects, targets.objects, targets.nouns)
    h_f1 = {name: value for name, value in fitted.held_out_h_f1.items() if name != DEFAULT}
    rules = {**fitted.rules, DEFAULT: precise}
    return dataclasses.replace(fitted, rules=rules, best=DEFAULT, held_out_h_f1=h_f1)


def measure(run: Run, row, fitted: FittedCountingRules) -> dict:
    """Returns the figures of a row on the test photographs, counted by default and for H-F1."""
    truth, objects = run.split("test").labels, is_object(run)
    probabilities = table_predictions.predict_probabilities(run, row, "test")
    raw = table_predictions.predict_raw_quantity(run, row, "test")
    chosen = choose_labels(fitted.apply(probabilities, raw))
    balanced = choose_labels(fitted.apply(probabilities, raw, "threshold"))
    ap = average_precision(truth, probabilities)
    right, number, positives = (chosen & truth).sum(axis=0), chosen.sum(axis=0), truth.sum(axis=0)
    return {
        "default": counting.measure_choice(chosen, truth, objects) | annotation_metrics(truth, chosen),
        "one threshold for H-F1": counting.measure_choice(balanced, truth, objects)
        | annotation_metrics(truth, balanced),
        "ranking": ranking_metrics(truth, probabilities)
        | {"mAP of objects": _mean(ap[objects]), "mAP of nouns": _mean(ap[~objects])},
        "labels": [
            {
                "AP": _percent(ap[j] / 100),
                "precision": _percent(right[j] / number[j] if number[j] else np.nan),
                "recall": _percent(right[j] / positives[j] if positives[j] else np.nan),
                "written": int(number[j]),
            }
            for j in range(truth.shape[1])
        ],
    }


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _percent(share) -> float | None:
    return None if np.isnan(share) else round(100 * float(share), 1)


def describe(run: Run, info: dict, figures: dict, candidates, rule: dict, targets: Targets) -> dict:
    """Returns the content of model.json: that of the run's model, and what belongs to the starter model."""
    chosen = {
        "test with the chosen quantity": "with tags",
        "test without tags with the chosen quantity": "pixels alone",
    }
    measured = {
        key: {name: value for name, value in figures[inputs]["default"].items() if name in info["test"]}
        for key, inputs in chosen.items()
    }
    return info | measured | {
        "dataset": "starter",
        "starter": {
            "objects": int(is_object(run).sum()),
            "candidates": [dataclasses.asdict(candidate) for candidate in candidates],
            "rule": rule,
            "targets": dataclasses.asdict(targets),
            "held out": len(run.held_out_rows),
            "figures": figures,
        },
    }  # fmt: skip


def _write_network(source: pathlib.Path, partial: pathlib.Path) -> None:
    from msmm.inference.exporting.graph import Graph

    model = model_dir.load(source)
    write_openvino(Graph(model), partial, half=True)
    write_json(partial / model_dir.SIZES, sizes_of(model.network))


def _check(run: Run, source: pathlib.Path, partial: pathlib.Path) -> None:
    """Raises UserError where the directory is too large or its probabilities differ from the run's model."""
    size = sum(path.stat().st_size for path in partial.iterdir())
    if size > LARGEST:
        raise UserError(
            f"the starter model takes {size / 2**20:.1f} MiB, more than {LARGEST / 2**20:.0f}: choose a "
            "smaller --textual_units or --backbone"
        )
    rows = np.arange(min(CHECKED, run.dataset.num_examples("test")))
    images, tags = run.images("test").take(rows), run.split("test").tags[rows]
    inputs = np.asarray(images, np.float32), tags.astype(np.float32)
    expected, actual = (
        model.run(*inputs)["probabilities"] for model in (model_dir.load(source), engines.load(partial))
    )
    change = float(np.abs(np.asarray(expected) - actual).max())
    if change > TOLERANCE:
        raise UserError(
            f"weights in float16 change a probability by {change:.3f}, more than {TOLERANCE}: train with a "
            "lower learning rate"
        )
    print(f"{size / 2**20:.1f} MiB; weights in float16 change no probability by more than {change:.4f}")

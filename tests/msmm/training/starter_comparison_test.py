"""The line that compares a finished model with the starter model."""

import shutil

import numpy as np
import pytest

from msmm.core import checksums
from msmm.inference import engines, starter
from msmm.scoring.bootstrap import Gain
from msmm.scoring.ranking_metrics import mean_average_precision
from msmm.training import starter_comparison, table_predictions
from msmm.training.starter_comparison import Comparison, match_labels
from msmm.training.table_rows import COMPLETE, TABLE_ROWS, WITHOUT_TAGS

pytest.importorskip("openvino", reason="openvino is missing: pip install 'msmm[openvino]'")


@pytest.fixture(scope="module")
def run_with_model(trained_run):
    table_predictions.save_model(trained_run)
    return trained_run


def rename_labels(directory, target, names):
    """Copies a model directory; names: old name -> new name of its labels."""
    shutil.copytree(directory, target)
    lines = (target / "labels.txt").read_text().splitlines()
    (target / "labels.txt").write_text("".join(f"{names.get(line, line)}\n" for line in lines))
    checksums.write(target, {path.name for path in target.iterdir() if path.is_file()} - {checksums.SUMS})
    return engines.load(target, "keras")


def test_labels_match_in_another_case_and_number_once():
    labels, others = ("Dogs", "People", "sunset", "person", "toy dog"), ("person", "cat", "dog")
    assert match_labels(labels, others) == {0: 2, 3: 0}
    assert match_labels(("People",), others) == {0: 0}
    assert match_labels(("ski", "Skis"), ("skis", "ski")) == {0: 1, 1: 0}
    assert match_labels(("Cat", "cat"), ("cat",)) == {0: 0}  # whose two labels no single one can be
    assert match_labels(("Cat", "cat"), ("cat", "CAT")) == {0: 0, 1: 1}
    assert match_labels(("Cat", "cat"), ("cats", "cat")) == {0: 1, 1: 0}


def test_figures_are_those_of_the_labels_that_both_have(run_with_model, tmp_path):
    run = run_with_model
    own = engines.load(run.model_directory, "keras")
    first, second = run.dataset.labels[:2]
    other = rename_labels(run.model_directory, tmp_path / "other", {first: f"{first}s", second: "unknown"})
    shared = match_labels(own.labels, other.labels)
    assert shared == {i: i for i in range(len(own.labels)) if i != 1}
    compared = starter_comparison.compare_models(run, own, other, shared)
    assert compared.images == run.dataset.num_examples("test") and compared.others == 1
    truth = run.split("test").labels
    kept = [i for i in shared if truth[:, i].any()]
    assert compared.shared == tuple(run.dataset.labels[i] for i in kept)
    probabilities = [
        table_predictions.predict_probabilities(run, TABLE_ROWS[row], "test")
        for row in (WITHOUT_TAGS, COMPLETE)
    ]
    tagged = run.split("test").tags.any(axis=1)
    assert tagged.any()
    with_tags = np.where(tagged[:, None], probabilities[1], probabilities[0])
    # The other model, as the starter model, reads no tags of new photographs: it sees pixels alone.
    for figures, expected in (compared.own, with_tags), (compared.starter, probabilities[0]):
        # Rounding of the two computations may exchange images with nearly equal probabilities.
        worst, best = (
            mean_average_precision(truth[:, kept], (expected + rounding * truth)[:, kept])
            for rounding in (-1e-5, 1e-5)
        )
        assert worst - 0.01 <= figures["mAP"] <= best + 0.01 and best - worst < 1
    gain = compared.own["H-F1"] - compared.starter["H-F1"]
    assert compared.gain.per_seed[0] == pytest.approx(gain)


def test_a_data_set_of_the_paper_is_not_compared(run_with_model):
    assert starter_comparison.compare_with_starter(run_with_model) is None


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.1, 3), "better than"),
        ((-3, -0.1), "worse than"),
        ((-1, 2), "no clear difference from"),
    ],
)
def test_the_verdict_is_that_of_the_interval(interval, verdict):
    figures = {"mAP": 50.0, "H-F1": 40.0}
    compared = Comparison(10, ("a", "b"), 3, figures, figures, Gain((1.0,), interval))
    assert compared.describe().startswith(
        f"{verdict} the starter model on the 2 labels that both have: mAP 50.0"
    )
    assert compared.describe().endswith("10 test images); it does not have 3 others")


def test_the_starter_of_the_package_can_be_compared(run_with_model):
    """Its labels are others, but sky and clouds are drawn too."""
    run = run_with_model
    other = engines.load(starter.find_starter_model())
    shared = match_labels(run.dataset.labels, other.labels)
    assert shared
    compared = starter_comparison.compare_models(run, engines.load(run.model_directory), other, shared)
    assert compared and np.isfinite(list(compared.starter.values())).all()

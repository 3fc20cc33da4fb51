"""Tables III and IV of a run with finished stages; the baselines train for one epoch."""

import shutil

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from experiments.reporting import published
from experiments.sections import comparison
from experiments.sections.study import train_and_measure
from msmm.baselines.loading import load_baselines
from msmm.configs import replace_flat
from msmm.configs.scenes import Config
from msmm.scoring.metrics import annotation_metrics
from msmm.training import baseline_tasks
from msmm.training.run import Run
from msmm.training.table_predictions import predict_row
from msmm.training.table_rows import COMPLETE, TABLE_ROWS
from tests.conftest import TINY

BASELINES = load_baselines()

pytestmark = pytest.mark.slow  # all eight train


@pytest.fixture(scope="module")
def measured(trained_run, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("table3") / "run"
    shutil.copytree(trained_run.workdir, workdir)
    epochs = {f"{name}_epochs": 1 for name in BASELINES if name != "logistic"}
    study = train_and_measure([Run(workdir, trained_run.dataset, replace_flat(Config(), TINY | epochs))])
    return study, comparison.comparison_section(study, "III")


def rows(table):
    return {row.name: row.seeds[0] for row in table.rows}


def test_comparison_rows_have_the_order_of_the_paper(measured):
    assert [row.name for row in measured[1].tables[0].rows] == [
        row.name for row in published.TABLES["III"].rows
    ]
    for ours, theirs in zip(measured[1].tables[0].rows, published.TABLES["III"].rows, strict=True):
        assert ours.multi_modal == theirs.multi_modal


def test_methods_are_compared_with_our_and_true_label_counts(measured):
    study, section = measured
    _, _, _, with_ours, with_true, lengths = section.tables
    ours = predict_row(study.run, TABLE_ROWS[COMPLETE]).counts.mean()
    without_tags = predict_row(study.run, TABLE_ROWS["MS-CNN+LQP"]).counts.mean()
    by_title = {method.title: method for method in BASELINES.values()}
    for name, metrics in rows(with_ours).items():
        method = by_title.get(name.removesuffix(" + our quantity"))
        expected = ours if method is None or method.multi_modal else without_tags
        assert metrics["mean predicted"] == pytest.approx(expected)
    for metrics in rows(with_true).values():
        assert metrics["I-P"] == metrics["I-R"]
    ratio = study.run.split("test").counts.mean() / study.run.config.k
    fixed = [name.removesuffix(", true quantity") for name in rows(with_true)][1:]
    for name, metrics in rows(lengths).items():
        if name in fixed:
            assert metrics["mean predicted"] == study.run.config.k
            assert metrics["I-P"] / metrics["I-R"] == pytest.approx(ratio)


def test_ranking_table_equals_scikit_learn_and_omits_decoders(measured):
    study, section = measured
    table = rows(section.tables[2])
    titles = [BASELINES[n].title for n in ("sinn", "tag_neighbour", "warp", "softmax", "logistic")]
    assert list(table) == ["Ours", *titles]
    truth = study.truth
    present = truth.any(axis=0)
    for name in ("sinn", "tag_neighbour", "warp"):
        scores = baseline_tasks.predict_baseline(study.run, name).scores
        expected = 100 * average_precision_score(truth[:, present], scores[:, present])
        row = table[BASELINES[name].title]
        assert row["mAP"] == pytest.approx(expected)
        if name == "warp":
            assert "I-F1 at p 0.5" not in row, "the scores are not probabilities"
        else:
            half = {"sinn": 0.0, "tag_neighbour": 0.5}[name]
            assert row["I-F1 at p 0.5"] == annotation_metrics(truth, scores > half)["I-F1"]


def test_claims_compare_ours_with_every_baseline(measured):
    _, section = measured
    table = rows(section.tables[0])
    assert [o.claim.worse for o in section.outcomes] == list(table)[2:]
    printed = rows(published.TABLES["III"])
    for outcome in section.outcomes:
        gain = table["Ours"]["H-F1"] - table[outcome.claim.worse]["H-F1"]
        assert outcome.gains[0] == pytest.approx(gain)
        published_gain = printed["Ours"]["H-F1"] - printed[outcome.claim.worse]["H-F1"]
        assert outcome.published == pytest.approx(published_gain, abs=0.006)
        assert np.isfinite(outcome.interval).all()


def test_report_lists_settings_and_backbones_of_the_baselines(measured):
    study, section = measured
    page = study.make_report("Table III", [section], "command")
    named = [name for name, _, _ in page.settings]
    for name, method in BASELINES.items():
        assert f"{name}_{'l2_largest' if name == 'logistic' else 'learning_rate'}" in named
        assert any(method.title in note for note in page.notes)

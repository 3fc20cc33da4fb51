import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from msmm.core.errors import UserError
from msmm.inference import model_dir
from msmm.quantities.fitting import fit_counting_rules
from msmm.quantities.registry import BEST, COUNTING_RULES
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import choose_labels
from msmm.training import table_predictions
from msmm.training.run import Run
from msmm.training.stage_table import PAPER_PARTS
from msmm.training.table_rows import COMPLETE, TABLE_ROWS, TAGS_ONLY


def test_rows_without_quantity_prediction_predict_k_labels(trained_run):
    for name in ("CNN", "MS-CNN", "MS-CNN+Tags"):
        chosen, figures = table_predictions.measure_row(trained_run, TABLE_ROWS[name])
        assert (chosen.sum(axis=1) == 3).all()
        assert "MSE" not in figures
        true = trained_run.split("test").labels
        assert figures["I-P"] / figures["I-R"] == pytest.approx(true.sum() / chosen.sum())


@pytest.mark.parametrize("counting_rule", [None, "class_thresholds"])
def test_the_ranking_metrics_of_a_row_are_those_of_its_classifier(trained_run, counting_rule):
    figures = table_predictions.measure_row(trained_run, TABLE_ROWS["MS-CNN"], counting_rule=counting_rule)[1]
    truth = trained_run.split("test").labels
    p = table_predictions.predict_probabilities(trained_run, TABLE_ROWS["MS-CNN"], "test")
    present = truth.any(axis=0)
    expected = 100 * average_precision_score(truth[:, present], p[:, present])
    assert figures["mAP"] == pytest.approx(expected, abs=1e-9)
    assert figures["I-F1 at p 0.5"] == annotation_metrics(truth, p > 0.5)["I-F1"]


def test_the_upper_bound_predicts_the_true_number_of_labels(trained_run):
    chosen, figures = table_predictions.measure_row(trained_run, TABLE_ROWS["Upper bound"])
    np.testing.assert_array_equal(chosen.sum(axis=1), trained_run.split("test").counts)
    assert figures["I-P"] == figures["I-R"]


@pytest.mark.parametrize("name", [COMPLETE, "MS-CNN+LQP"])
def test_rows_with_quantity_prediction_predict_the_rounded_quantity(trained_run, name):
    chosen, figures = table_predictions.measure_row(trained_run, TABLE_ROWS[name])
    raw = table_predictions.predict_raw_quantity(trained_run, TABLE_ROWS[name])
    np.testing.assert_array_equal(chosen.sum(axis=1), np.clip(np.floor(raw + 0.5), 1, chosen.shape[1]))
    counts = trained_run.split("test").counts
    assert figures["MSE"] == pytest.approx(((raw - counts) ** 2).mean(), rel=1e-5)


def test_rows_share_scores_as_in_the_paper(trained_run):
    scores = {name: table_predictions.predict_row(trained_run, v).scores for name, v in TABLE_ROWS.items()}
    for same in (("Upper bound", COMPLETE, "MS-CNN+Tags"), ("MS-CNN", "MS-CNN+LQP")):
        for other in same[1:]:
            np.testing.assert_array_equal(scores[same[0]], scores[other])
    assert (scores["CNN"] != scores["MS-CNN"]).any() and (scores["MS-CNN"] != scores["MS-CNN+Tags"]).any()


@pytest.fixture(scope="module")
def saved(trained_run):
    return table_predictions.save_model(trained_run)


def test_a_saved_model_annotates_as_its_run(trained_run, saved):
    """Compares annotations of pixels and tag names with the parts on cached features."""
    model, run = model_dir.load(saved), trained_run
    rows = np.flatnonzero(run.split("test").tags.any(axis=1))[:12]
    tags = [[run.dataset.tags[i] for i in np.flatnonzero(t)] for t in run.split("test").tags[rows]]
    annotations = model.annotate(run.images("test").take(rows), tags, quantity="regression")
    expected = table_predictions.predict_row(run, TABLE_ROWS[COMPLETE])
    chosen = table_predictions.measure_row(run, TABLE_ROWS[COMPLETE])[0]
    raw = table_predictions.predict_raw_quantity(run, TABLE_ROWS[COMPLETE])
    for i, annotation in zip(rows, annotations, strict=True):
        np.testing.assert_allclose(annotation.probabilities, expected.scores[i], atol=5e-3)
        assert annotation.quantity == pytest.approx(raw[i], abs=2e-2)
        assert len(annotation.labels) == chosen[i].sum()
        assert list(annotation.labels) == sorted(
            annotation.labels, key=lambda x: -annotation.probabilities[run.dataset.labels.index(x)]
        )


def test_a_saved_model_takes_images_of_any_size_and_unknown_tags(saved):
    model = model_dir.load(saved)
    images = [np.zeros((50, 80, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)]
    with_unknown = model.annotate(images, [["no such tag"], []])
    for a, b in zip(with_unknown, model.annotate(images), strict=True):
        np.testing.assert_array_equal(a.probabilities, b.probabilities)
        assert 1 <= len(a.labels) <= len(model.labels)


def test_a_saved_model_uses_its_counting_rules(trained_run, saved):
    """The default is the rule chosen on held-out images; images without tags have separate rules."""
    model, run = model_dir.load(saved), trained_run
    fitted_rules = [model.quantities, model.quantities_without_tags]
    for fitted, name in zip(fitted_rules, (COMPLETE, "MS-CNN+LQP"), strict=True):
        assert fitted == fit_counting_rules(table_predictions.predict_held_out(run, TABLE_ROWS[name]))
    images = run.images("test").take(np.arange(12))
    tags = [[model.tags[0]], ["no such tag"]] * 6
    for name in (None, BEST, *COUNTING_RULES):
        annotations = model.annotate(images, tags, quantity=name)
        for i, annotation in enumerate(annotations):
            p, raw = annotation.probabilities[None], np.array([annotation.quantity], np.float32)
            row = choose_labels(fitted_rules[i % 2].apply(p, raw, name or BEST))[0]
            assert set(annotation.labels) == {run.dataset.labels[i] for i in np.flatnonzero(row)}
        for kind in (0, 1):  # all with tags, or none
            one_kind = model.annotate(images[kind::2], tags[kind::2], quantity=name)
            assert [a.labels for a in one_kind] == [a.labels for a in annotations[kind::2]]
    with pytest.raises(UserError, match=r"expected_f1.*Received: 'oracle'"):
        model.annotate(images, quantity="oracle")


def test_a_model_without_counting_rules_uses_the_papers_regression(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "model")
    for name in ("quantities.json", "SHA256SUMS"):
        (tmp_path / "model" / name).unlink()
    images = [np.full((32, 32, 3), 99, np.uint8)]
    old, model = model_dir.load(tmp_path / "model"), model_dir.load(saved)
    assert old.annotate(images)[0].labels == model.annotate(images, quantity="regression")[0].labels
    with pytest.raises(UserError, match=r"regression.*Received: 'best'"):
        old.annotate(images, quantity="best")


def test_damaged_counting_rules_are_refused(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "model")
    (tmp_path / "model" / "SHA256SUMS").unlink()
    path = tmp_path / "model" / "quantities.json"
    parsed = json.loads(path.read_text())
    parsed["estimators"]["class_thresholds"]["thresholds"].pop()
    for text in (json.dumps(parsed), path.read_text()[:-20]):
        path.write_text(text)
        with pytest.raises(UserError, match=r"quantities\.json"):
            model_dir.load(tmp_path / "model")


@pytest.mark.parametrize("name", ["MS-CNN", COMPLETE])
def test_counting_rules_are_fitted_only_on_held_out_images(trained_run, name):
    """Permuting the labels of test and training images changes nothing."""
    before = fit_counting_rules(table_predictions.predict_held_out(trained_run, TABLE_ROWS[name]))
    run = Run(trained_run.workdir, trained_run.dataset, trained_run.config)  # with separate splits
    rng = np.random.default_rng(0)
    for labels, rows in (
        (run.split("test").labels, np.arange(len(run.split("test").labels))),
        (run.split("train").labels, run.train_rows),
    ):
        labels[rows] = labels[rng.permutation(rows)]
    assert (run.split("test").labels != trained_run.split("test").labels).any()
    assert fit_counting_rules(table_predictions.predict_held_out(run, TABLE_ROWS[name])) == before
    run.split("train").labels[run.held_out_rows] = rng.uniform(size=run.split("train").labels.shape[1]) < 0.5
    assert fit_counting_rules(table_predictions.predict_held_out(run, TABLE_ROWS[name])) != before


@pytest.mark.parametrize("name", ["MS-CNN", "MS-CNN+Tags"])
def test_a_row_with_the_papers_regression_equals_the_papers_row(trained_run, name):
    row = {"MS-CNN": "MS-CNN+LQP", "MS-CNN+Tags": COMPLETE}[name]
    ours = table_predictions.predict_row(trained_run, TABLE_ROWS[name], counting_rule="regression")
    papers = table_predictions.predict_row(trained_run, TABLE_ROWS[row])
    np.testing.assert_array_equal(ours.scores, papers.scores)
    np.testing.assert_array_equal(ours.counts, papers.counts)
    chosen, figures = table_predictions.measure_row(
        trained_run, TABLE_ROWS[name], counting_rule="expected_count"
    )
    counts = trained_run.split("test").counts
    assert figures["MSE"] == pytest.approx(((chosen.sum(axis=1) - counts) ** 2).mean())


def test_a_row_without_a_regressor_has_no_counting_rules(trained_run):
    with pytest.raises(ValueError, match="cnn_head"):
        table_predictions.predict_row(trained_run, TABLE_ROWS["CNN"], counting_rule="best")


@pytest.mark.parametrize("damage", ["labels.txt", "tags.txt", "model.keras", "model.json"])
def test_a_damaged_model_directory_is_refused(saved, tmp_path, damage):
    shutil.copytree(saved, tmp_path / "model")
    path = tmp_path / "model" / damage
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=str(tmp_path / "model")):
        model_dir.load(tmp_path / "model")
    path.unlink()
    with pytest.raises(UserError, match=damage):
        model_dir.load(tmp_path / "model")


def test_every_part_belongs_to_a_table_row_or_the_model():
    used = {v.scorer for v in (TABLE_ROWS | TAGS_ONLY).values()} | {v.counter for v in TABLE_ROWS.values()}
    assert used | {"backbone", "multi_scale", "textual"} == set(PAPER_PARTS) | {"truth", None}

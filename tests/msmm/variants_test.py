import numpy as np
import pytest

from msmm import model_dir, parts, variants
from msmm.errors import UserError
from msmm.variants import COMPLETE, VARIANTS


def test_rows_without_quantity_prediction_say_k_labels(trained_run):
    for name in ("CNN", "MS-CNN", "MS-CNN+Tags"):
        chosen, figures = variants.measure(trained_run, VARIANTS[name])
        assert (chosen.sum(axis=1) == 3).all()
        assert "MSE" not in figures
        true = trained_run.split("test").labels
        assert figures["I-P"] / figures["I-R"] == pytest.approx(true.sum() / chosen.sum())


def test_the_upper_bound_says_as_many_labels_as_are_true(trained_run):
    chosen, figures = variants.measure(trained_run, VARIANTS["Upper bound"])
    np.testing.assert_array_equal(chosen.sum(axis=1), trained_run.split("test").counts)
    assert figures["I-P"] == figures["I-R"]


@pytest.mark.parametrize("name", [COMPLETE, "MS-CNN+LQP"])
def test_rows_with_quantity_prediction_say_its_rounded_value(trained_run, name):
    chosen, figures = variants.measure(trained_run, VARIANTS[name])
    raw = variants.raw_quantity(trained_run, VARIANTS[name])
    np.testing.assert_array_equal(chosen.sum(axis=1), np.clip(np.floor(raw + 0.5), 1, chosen.shape[1]))
    counts = trained_run.split("test").counts
    assert figures["MSE"] == pytest.approx(((raw - counts) ** 2).mean(), rel=1e-5)


def test_rows_differ_in_their_scores_as_the_paper_says(trained_run):
    scores = {name: variants.annotate(trained_run, v).scores for name, v in VARIANTS.items()}
    for same in (("Upper bound", COMPLETE, "MS-CNN+Tags"), ("MS-CNN", "MS-CNN+LQP")):
        for other in same[1:]:
            np.testing.assert_array_equal(scores[same[0]], scores[other])
    assert (scores["CNN"] != scores["MS-CNN"]).any() and (scores["MS-CNN"] != scores["MS-CNN+Tags"]).any()


@pytest.fixture(scope="module")
def saved(trained_run):
    return variants.save_model(trained_run)


def test_a_saved_model_annotates_as_the_run_does(trained_run, saved):
    """From pixels and tag names alone, against the stages' parts on stored features."""
    model, run = model_dir.load(saved), trained_run
    rows = np.arange(12)
    tags = [[run.dataset.tags[i] for i in np.flatnonzero(t)] for t in run.split("test").tags[rows]]
    said = model.annotate(run.images("test").take(rows), tags)
    expected = variants.annotate(run, VARIANTS[COMPLETE])
    chosen = variants.measure(run, VARIANTS[COMPLETE])[0]
    raw = variants.raw_quantity(run, VARIANTS[COMPLETE])
    for i, annotation in enumerate(said):
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


@pytest.mark.parametrize("damage", ["labels.txt", "tags.txt", "model.keras", "model.json"])
def test_a_damaged_model_directory_is_refused_in_words(saved, tmp_path, damage):
    import shutil

    shutil.copytree(saved, tmp_path / "model")
    path = tmp_path / "model" / damage
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=str(tmp_path / "model")):
        model_dir.load(tmp_path / "model")
    path.unlink()
    with pytest.raises(UserError, match=damage):
        model_dir.load(tmp_path / "model")


def test_every_part_is_of_some_row_or_of_the_model():
    used = {v.scorer for v in (VARIANTS | variants.TAGS_ONLY).values()} | {
        v.counter for v in VARIANTS.values()
    }
    assert used | {"backbone", "multi_scale", "textual"} == parts.STAGE_OF.keys() | {"truth", None}

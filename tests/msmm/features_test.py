import numpy as np
import pytest

from msmm import features, parts, stages
from msmm.errors import UserError
from msmm.features import cached


def test_an_array_is_computed_once_and_row_aligned(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        for start in (0, 3, 6):
            rows = np.arange(start, min(start + 3, 7))
            yield [rows[:, None] * np.ones((1, 2)), rows]

    for _ in range(2):
        a, b = cached(tmp_path, "test", {"seed": 1}, 7, compute, np.float32)
        np.testing.assert_array_equal(a, np.arange(7)[:, None] * np.ones((1, 2)))
        np.testing.assert_array_equal(b, np.arange(7))
    assert len(calls) == 1
    cached(tmp_path, "test", {"seed": 2}, 7, compute, np.float32)
    assert len(calls) == 2


def test_an_interrupted_computation_leaves_nothing(tmp_path):
    def compute():
        yield [np.zeros((3, 2))]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "test", {}, 7, compute, np.float32)
    assert list(tmp_path.iterdir()) == []


def test_numbers_too_large_for_float16_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"not finite in float16.*--maps_cache_gib=0"):
        cached(tmp_path, "maps", {}, 2, lambda: [[np.array([[1.0], [7e4]])]], np.float16)
    assert list(tmp_path.iterdir()) == []


def test_a_short_computation_is_no_result(tmp_path):
    with pytest.raises(RuntimeError, match="expected 7 rows"):
        cached(tmp_path, "test", {}, 7, lambda: [[np.zeros((3, 2))]], np.float32)
    assert list(tmp_path.iterdir()) == []


def test_features_are_what_the_parts_say_of_the_images(trained_run):
    run = trained_run
    images = np.concatenate(list(run.images("test").ordered(64)))
    maps = parts.load(run, "backbone").predict_on_batch(images)
    np.testing.assert_allclose(features.cnn(run, "test"), maps[-1].mean(axis=(1, 2)), rtol=2e-3, atol=1e-3)
    f_v = parts.load(run, "multi_scale").predict_on_batch(maps)
    np.testing.assert_allclose(features.visual(run, "test"), f_v, rtol=5e-3, atol=np.abs(f_v).max() * 2e-3)
    f_t = parts.load(run, "textual").predict_on_batch(run.split("test").tags.astype(np.float32))
    np.testing.assert_allclose(features.textual(run, "test"), f_t, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(
        features.joint(run, "test")[:],
        np.concatenate([features.visual(run, "test"), features.textual(run, "test")], axis=1),
    )


def test_mirrored_maps_are_those_of_mirrored_images(trained_run):
    run = trained_run
    flipped = np.concatenate(list(run.images("test").ordered(64)))[:, :, ::-1]
    expected = parts.load(run, "backbone").predict_on_batch(flipped)
    for kept, said in zip(features.maps(run, "test", flip=True), expected, strict=True):
        np.testing.assert_allclose(kept, said, rtol=2e-3, atol=1e-2)


def test_maps_over_the_budget_are_not_kept_and_training_is_the_same(make_run):
    """Stage visual through the images and through kept maps (float16): alike to float16's precision."""
    kept, streamed = make_run("kept"), make_run("streamed", maps_cache_gib=0.0)
    for run in (kept, streamed):
        stages.train(run, "visual")
    assert features.maps(streamed, "train") is None
    assert not list(streamed.features_directory.glob("maps-*"))
    assert len(list(kept.features_directory.glob("maps-train*"))) == 2  # plain and mirrored
    a, b = (run.stage_record("visual")["history"] for run in (kept, streamed))
    for x, y in zip(a, b, strict=True):
        assert x["train"]["loss"] == pytest.approx(y["train"]["loss"], rel=2e-3)
        assert x["held-out"]["loss"] == pytest.approx(y["held-out"]["loss"], rel=2e-2)
    f_v = [features.visual(run, "test") for run in (kept, streamed)]
    np.testing.assert_allclose(*f_v, rtol=0.05, atol=np.abs(f_v[0]).max() * 0.02)
    features.discard_maps(kept)
    assert not list(kept.features_directory.glob("maps-*"))

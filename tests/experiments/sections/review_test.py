"""The simulated review, on features whose best model is known."""

import keras
import numpy as np
import pytest

from experiments.sections import review
from experiments.sections.review import ORDERS, ReviewData, name_model
from msmm.core.errors import UserError
from msmm.models import backbone
from msmm.scoring.ranking_metrics import MEAN_AP


def make_data(num_train=1200, num_test=400, size=12, classes=4) -> ReviewData:
    """Makes features of which noisy half-spaces are the labels."""
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(size, classes))
    features = rng.normal(size=(num_train + num_test, size)).astype(np.float32)
    labels = features @ normals + rng.normal(size=(len(features), classes)) > 1
    rows = np.arange(num_train)
    split = features[:num_train], labels[:num_train], rows[200:], rows[:200]
    return ReviewData(*split, features[num_train:], labels[num_train:], "visual")


@pytest.fixture(scope="module")
def data():
    return make_data()


def test_corrections_improve_the_model_and_draws_are_paired(data):
    figures = review.simulate_review(data, 20, [50, 200], 2)
    assert next(iter(figures)) == "no corrections" and len(figures) == 1 + 2 * 2
    assert {len(draws) for draws in figures.values()} == {2}
    base = figures["no corrections"]
    for order in ORDERS:
        after = figures[name_model(order, 200)]
        assert all(a[MEAN_AP] > b[MEAN_AP] + 3 for a, b in zip(after, base, strict=True))
    assert figures == review.simulate_review(data, 20, [50, 200], 2)  # by the draw alone
    gains = review.curve_tables(figures, [50, 200], "x")[1]
    row = next(r for r in gains.rows if r.name == "200 corrections, random over no corrections")
    expected = [
        a[MEAN_AP] - b[MEAN_AP] for a, b in zip(figures[name_model("random", 200)], base, strict=True)
    ]
    assert row.values(MEAN_AP) == expected
    picture = review.curve_figure(figures, [50, 200]).picture.content
    assert picture.count("least sure first") >= 1 and "<svg" in picture


def test_the_reviewer_sees_what_the_first_model_is_least_sure_of(data, monkeypatch):
    fitted = []

    def fit(data, rows):
        fitted.append(rows)
        return np.zeros((12, 4)), np.zeros(4)

    def uncertain(features, head):  # the first feature alone decides
        return np.clip(features[:, :1] * 0.2 + 0.5, 0, 1)

    monkeypatch.setattr(review, "fit_head", fit)
    monkeypatch.setattr(review, "predict", uncertain)
    monkeypatch.setattr(review, "measure_head", lambda data, head: {MEAN_AP: 1.0, "H-F1": 1.0})
    review.simulate_review(data, 30, [10], 1)
    base, unsure, random = fitted
    assert set(base) < set(unsure) and set(base) < set(random) and not set(base) & set(data.held_out)
    rest = np.setdiff1d(data.pool, base)
    nearest = rest[np.argsort(np.abs(data.features[rest, 0]))[:10]]
    assert set(unsure) - set(base) == set(nearest) != set(random) - set(base)


def test_the_penalty_with_the_lowest_held_out_loss_is_kept(data):
    rows = data.pool[:60]
    weights, bias = review.fit_head(data, rows)

    def loss(weights, bias):
        logits = data.features[data.held_out] @ weights + bias
        return (np.logaddexp(0, logits) - data.labels[data.held_out] * logits).sum(axis=1).mean()

    problem = review.LogisticProblem(data.features, data.labels, rows)
    for penalty in (3.0, 0.003):
        other = problem.solve(np.zeros((12, 4)), np.zeros(4), penalty, 300)[:2]
        assert loss(weights, bias) < loss(*other)


def test_too_few_images_are_refused(data):
    with pytest.raises(UserError, match=r"expected at least 1,020 training images .* Received: 1,000"):
        review.simulate_review(data, 20, [1000], 1)


def test_features_come_from_the_backbone(trained_run, make_run, tmp_path):
    data = review.read_review_data(trained_run)  # which is not pretrained
    assert data.source.startswith("stage finetune") and len(data.features) == len(data.labels) == 100
    assert set(data.pool) | set(data.held_out) == set(range(100)) and len(data.test_features) == 40
    figures = review.simulate_review(data, 20, [10, 30], 1)
    assert all(0 <= draw["H-F1"] <= 100 for draws in figures.values() for draw in draws)
    with pytest.raises(UserError, match="finished stage finetune: train it first"):
        review.read_review_data(make_run("untrained"))
    keras.utils.set_random_seed(1)
    path = tmp_path / "trunk.weights.h5"
    backbone.resnet((1, 1, 1, 1), 4).save_weights(path)
    pretrained = make_run("pretrained", weights=str(path))
    read = review.read_review_data(pretrained)
    assert read.source == "the pretrained backbone" and read.features.shape == data.features.shape
    assert not np.allclose(read.features, data.features)
    cached = sorted(folder.name for folder in pretrained.features_directory.iterdir())
    review.read_review_data(pretrained)
    assert sorted(folder.name for folder in pretrained.features_directory.iterdir()) == cached != []

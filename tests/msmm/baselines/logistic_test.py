"""CNN+logistic against scikit-learn, and the stage that fits it."""

import dataclasses
import shutil

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from msmm.baselines import logistic_solver
from msmm.baselines.baseline import Examples, predict_arrays
from msmm.baselines.logistic import Logistic
from msmm.baselines.logistic_solver import LogisticProblem
from msmm.configs import replace_flat
from msmm.core.errors import UserError
from msmm.models.heads import log_odds
from msmm.scoring.ranking_metrics import mean_average_precision
from msmm.training import baseline_tasks, stages
from msmm.training.run import Run


@pytest.fixture
def data():
    """Features with large means, different scales and a common direction; labels from 1 to 60 % of images."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(700, 20)) + 2 * rng.normal(size=(700, 1))
    true = rng.normal(size=(20, 6))
    logits = features @ true + np.linspace(-12, 1, 6)
    labels = rng.random((700, 6)) < 1 / (1 + np.exp(-logits))
    scaled = features * np.geomspace(0.01, 100, 20) + 50
    return scaled.astype(np.float32), labels, np.flatnonzero(rng.random(700) < 0.8)


def fit_by_scikit_learn(features, labels, rows, penalty):
    """Returns the logits [N, C] of all images from one regression for each class, fitted in `rows`."""
    mean, deviation = features[rows].mean(0, np.float64), features[rows].std(0, np.float64)
    x = (features - mean) / np.where(deviation > 0, deviation, 1)  # some features of small networks are dead
    logits = []
    for y in labels.T:
        model = LogisticRegression(C=1 / (penalty * len(rows)), tol=1e-10, max_iter=10_000)
        logits.append(model.fit(x[rows], y[rows]).decision_function(x))
    return np.stack(logits, axis=1)


def cross_entropy(logits, labels):
    return (np.logaddexp(0, logits) - logits * labels).sum(axis=1).mean()


def count_expected(logits):
    return (1 / (1 + np.exp(-logits))).sum(axis=1).mean()


@pytest.fixture
def copy_run(trained_run, tmp_path):
    """Returns a function that copies the trained run, with its stages finished, to a directory of its own."""

    def copy(name):
        shutil.copytree(trained_run.workdir, tmp_path / name)
        return Run(tmp_path / name, trained_run.dataset, trained_run.config)

    return copy


@pytest.mark.parametrize("penalty", [1.0, 0.01, 1e-4])
def test_the_fit_equals_scikit_learn(data, penalty, monkeypatch):
    monkeypatch.setattr(logistic_solver, "BLOCK", 128)
    features, labels, rows = data
    weights, bias, figures = LogisticProblem(*data).solve(
        np.zeros((20, 6)), log_odds(labels[rows]), penalty, 1000
    )
    logits, expected = features @ weights + bias, fit_by_scikit_learn(*data, penalty)
    held_out = np.setdiff1d(np.arange(700), rows)
    assert cross_entropy(logits[rows], labels[rows]) == pytest.approx(figures["loss"], abs=1e-9)
    for some in (rows, held_out):
        loss, reference = (cross_entropy(z[some], labels[some]) for z in (logits, expected))
        assert loss == pytest.approx(reference, abs=1e-3)
        assert count_expected(logits[some]) == pytest.approx(count_expected(expected[some]), abs=1e-3)
        ours, theirs = (mean_average_precision(labels[some], z[some]) for z in (logits, expected))
        assert ours == pytest.approx(theirs, abs=0.1)


def test_expected_labels_at_the_optimum_are_as_many_as_true_ones(data):
    features, labels, rows = data
    weights, bias, _ = LogisticProblem(*data).solve(np.zeros((20, 6)), np.zeros(6), 1.0, 1000)
    probabilities = 1 / (1 + np.exp(-(features[rows] @ weights + bias)))
    np.testing.assert_allclose(probabilities.mean(0), labels[rows].mean(0), atol=2e-5)


def test_the_gradient_equals_the_numeric_one(data):
    problem, rng, step = LogisticProblem(*data), np.random.default_rng(1), 1e-6
    weights, bias = rng.normal(size=(20, 6)) / 10, rng.normal(size=6)
    _, by_weights, by_bias = problem.evaluate(weights, bias)
    for place in [(0, 0), (19, 5), (7, 3)]:
        moved = weights.copy()
        moved[place] += step
        slope = (problem.evaluate(moved, bias)[0] - problem.evaluate(weights, bias)[0]) / step
        assert slope == pytest.approx(by_weights[place], abs=1e-4)
    slope = (problem.evaluate(weights, bias + step)[0] - problem.evaluate(weights, bias)[0]) / step
    assert slope == pytest.approx(by_bias.sum(), abs=1e-4)


def test_a_feature_that_is_constant_where_it_trains_has_no_weight(data):
    features, _, rows = data
    features[rows, 3], features[np.setdiff1d(np.arange(700), rows), 3] = 7.0, 1e6
    weights, bias, _ = LogisticProblem(*data).solve(np.zeros((20, 6)), np.zeros(6), 0.01, 200)
    assert not weights[3].any() and weights[4].all() and np.isfinite(bias).all()


def test_a_class_without_images_gets_a_low_probability(data):
    features, labels, rows = data
    labels[:, 2] = False
    weights, bias, _ = LogisticProblem(*data).solve(np.zeros((20, 6)), log_odds(labels[rows]), 0.01, 1000)
    logits = features @ weights + bias
    assert np.isfinite(logits).all() and logits[:, 2].max() < -5


def test_features_may_be_a_memory_map_that_is_read_in_blocks(data, tmp_path, monkeypatch):
    monkeypatch.setattr(logistic_solver, "BLOCK", 64)
    features, labels, rows = data
    np.save(tmp_path / "features.npy", features)
    read = []

    class Watched:
        def __init__(self, array):
            self.array, self.shape = array, array.shape

        def __getitem__(self, rows):
            read.append(len(rows))
            return self.array[rows]

    mapped = Watched(np.load(tmp_path / "features.npy", mmap_mode="r"))
    start = np.zeros((20, 6)), np.zeros(6), 0.1, 50
    by_blocks = LogisticProblem(mapped, labels, rows).solve(*start)
    assert max(read) <= 64
    monkeypatch.setattr(logistic_solver, "BLOCK", 4096)
    at_once = LogisticProblem(features, labels, rows).solve(*start)
    np.testing.assert_allclose(by_blocks[2]["loss"], at_once[2]["loss"], rtol=1e-6)


def test_the_grid_of_penalties_falls_by_half_decades(make_method):
    grid = make_method(Logistic, logistic_l2_smallest=1e-3).penalties()
    assert grid == [1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001]
    one = make_method(Logistic, logistic_l2_largest=0.05, logistic_l2_smallest=0.05).penalties()
    assert one == [0.05]
    with pytest.raises(UserError, match="logistic_l2_smallest <= logistic_l2_largest"):
        make_method(Logistic, logistic_l2_largest=1e-7).penalties()


def test_a_penalty_that_the_settings_name_is_not_rounded(make_method):
    for value in (0.25, 1.5):
        one = make_method(Logistic, logistic_l2_largest=value, logistic_l2_smallest=value)
        assert one.penalties() == [value]
    grid = make_method(Logistic, logistic_l2_largest=0.25, logistic_l2_smallest=0.0025).penalties()
    assert grid == [0.25, 0.075, 0.025, 0.0075, 0.0025]


def test_the_network_starts_at_the_log_odds_of_the_rows_that_train(make_method):
    method = make_method(Logistic, train_rows=np.arange(20))
    logits = predict_arrays(method.build(), method.splits["test"].features)
    positive = method.splits["train"].labels[:20].sum(axis=0) + 0.5
    np.testing.assert_allclose(logits, np.tile(np.log(positive / (21 - positive)), (12, 1)), rtol=1e-5)


def test_number_of_parameters(make_method):
    network = make_method(Logistic, classes=81, feature_size=2048).build()
    assert sum(np.prod(v.shape) for v in network.trainable_variables) == 2048 * 81 + 81


def test_the_stage_keeps_the_penalty_with_the_lowest_held_out_loss(copy_run, capsys):
    run = copy_run("run")
    stages.train(run, "logistic")
    record = run.finished_record("logistic")
    losses = [entry["held-out"]["loss"] for entry in record["history"]]
    best = record["best_epoch"] - 1
    assert losses[best] == min(losses) == pytest.approx(record["held-out"]["loss"], rel=1e-5)
    penalties = [entry["train"]["l2"] for entry in record["history"]]
    method = baseline_tasks.create_baseline(run, "logistic")
    assert penalties == method.penalties()[: len(penalties)]
    assert best + 3 == len(penalties) or len(penalties) == len(method.penalties())
    assert f"λ {penalties[best]:g} is kept" in capsys.readouterr().out
    # The saved weights are the fit of that penalty. scikit-learn fits no class that has no image.
    rows, labels = run.train_rows, run.split("train").labels
    present = labels[rows].any(axis=0)
    labels = labels[:, present]
    expected = fit_by_scikit_learn(method.features("train"), labels, rows, penalties[best])
    scores = baseline_tasks.predict_baseline(run, "logistic", "train").scores[:, present]
    reference = cross_entropy(expected[rows], labels[rows])
    assert cross_entropy(scores[rows], labels[rows]) == pytest.approx(reference, abs=2e-3)
    assert record["history"][best]["train"]["loss"] == pytest.approx(reference, abs=0.05)


def test_a_killed_fit_goes_on_to_the_same_bits(copy_run, monkeypatch, capsys):
    whole, killed = copy_run("whole"), copy_run("killed")
    stages.train(whole, "logistic")

    class Killed(BaseException):
        pass

    solve = Logistic.solve
    with monkeypatch.context() as patch:

        def interrupt(self, network, penalty, advance):
            if penalty == 0.1:
                raise Killed
            return solve(self, network, penalty, advance)

        patch.setattr(Logistic, "solve", interrupt)
        with pytest.raises(Killed):
            stages.train(killed, "logistic")
    assert (killed.stage_directory("logistic") / "state.npz").exists()
    other = Run(killed.workdir, killed.dataset, replace_flat(killed.config, {"logistic_l2_largest": 0.3}))
    with pytest.raises(UserError, match=r"logistic_l2_largest=1\.0, and now logistic_l2_largest=0\.3"):
        stages.train(other, "logistic")
    stages.train(killed, "logistic")
    assert "goes on after λ 2 of 13" in capsys.readouterr().out
    records = [run.finished_record("logistic") for run in (whole, killed)]
    assert records[0]["weights"] == records[1]["weights"]
    assert records[0]["history"] == records[1]["history"]
    assert not (killed.stage_directory("logistic") / "state.npz").exists()


def test_held_out_images_do_not_change_a_fit(make_method):
    rows = np.arange(25)
    first = make_method(Logistic, train_rows=rows)
    train = first.splits["train"]
    changed = Examples(train.features.copy(), train.tags, train.labels.copy())
    changed.features[25:], changed.labels[25:] = 1e3, True
    other = make_method(Logistic, dict(first.splits, train=changed), train_rows=rows)
    weights = []
    for method in (first, other):
        network = method.build()
        method.solve(network, 0.1, lambda: None)
        weights.append(network.get_weights())
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_callback_stops_the_grid(copy_run):
    import keras

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    run = copy_run("run")
    stages.train(run, "logistic", callbacks=[Stop()])
    assert len(run.finished_record("logistic")["history"]) == 2


def test_settings_have_no_learning_rate():
    from msmm.configs.baselines import Logistic as Settings

    assert {f.name for f in dataclasses.fields(Settings)} == {"l2_largest", "l2_smallest", "iterations"}

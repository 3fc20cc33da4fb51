"""The training loop on a regression small enough to be run many times."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from msmm.core.errors import UserError
from msmm.training.loop import fit_task
from tests.msmm.training.common import Killed, read_weights
from tests.msmm.training.toy_task import (
    CONFIG,
    SETTINGS,
    X,
    Y,
    make_averaging_optimizer,
    make_task,
    replace_fields,
)


def test_training_returns_the_weights_of_the_best_epoch(tmp_path):
    model, parts, progress = fit_task(make_task(epochs=30), CONFIG, tmp_path, SETTINGS)
    by_epoch = [row["held-out"]["MSE"] for row in progress.history]
    assert progress.best_epoch == 1 + int(np.argmin(by_epoch))
    raw = model.predict_on_batch(X)[:, 0]
    assert ((raw - Y) ** 2).mean() == pytest.approx(min(by_epoch), rel=1e-4)
    assert min(by_epoch) < Y.var() / 2
    assert parts["regressor"] is model


def test_a_held_out_loss_of_many_outputs_is_computed_in_parts(monkeypatch):
    task = make_task()
    model, _ = task.build()
    sizes, loss = [], task.optimisation.loss

    def record(truth, outputs):
        sizes.append(len(truth))
        return loss(truth, outputs)

    task = replace_fields(task, loss=record)
    whole = task.evaluate(model)[1]["loss"]
    monkeypatch.setattr("msmm.training.task._OUTPUTS", 30)
    assert task.evaluate(model)[1]["loss"] == pytest.approx(whole, rel=1e-6)
    assert sizes == [64, 30, 30, 4]


def test_averaged_weights_are_evaluated_and_kept(tmp_path):
    """Compares with plain steps averaged here, without dropout and BN, which are not averaged."""

    def build():
        keras.utils.set_random_seed(1)
        inputs = keras.Input((5,))
        model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
        return model, {"regressor": model}

    task = replace_fields(
        make_task(learning_rate=0.005, epochs=3), build=build, make_optimizer=make_averaging_optimizer
    )
    model, _, progress = fit_task(task, CONFIG, tmp_path, SETTINGS)
    plain = build()[0]
    plain.compile("sgd", task.optimisation.loss)
    plain.optimizer.learning_rate = 0.005
    mean, by_epoch, saved = None, [], []
    for number in range(3):
        for x, y in task.data.batches(number):
            plain.train_on_batch(x, y)
            now = read_weights(plain)[:2]
            mean = now if mean is None else [0.9 * m + 0.1 * w for m, w in zip(mean, now, strict=True)]
        saved.append(mean)
        by_epoch.append(float(((X @ mean[0] + mean[1] - Y[:, None]) ** 2).mean()))
    assert [row["held-out"]["MSE"] for row in progress.history] == pytest.approx(by_epoch, rel=1e-4)
    for w, m in zip(read_weights(model)[:2], saved[progress.best_epoch - 1], strict=True):
        np.testing.assert_allclose(w, m, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("killed_at", "precision", "optimizer"),
    [((0, 3), "float32", None), ((1, 0), "float32", None), ((3, 5), "float32", make_averaging_optimizer),
     ((5, 7), "float32", make_averaging_optimizer), ((3, 5), "float16", None)],
)  # fmt: skip
def test_a_killed_run_resumes_bit_for_bit(tmp_path, train_uninterrupted, killed_at, precision, optimizer):
    def make(**options):
        return replace_fields(make_task(**options), make_optimizer=optimizer)

    config = dataclasses.replace(CONFIG, precision=precision)  # float16 brings the state of its loss scaling
    uninterrupted, progress = train_uninterrupted((precision, optimizer), make(), config)
    with pytest.raises(Killed):
        fit_task(make(killed_at=killed_at), config, tmp_path / "killed", SETTINGS)
    resumed, _, again = fit_task(make(), config, tmp_path / "killed", SETTINGS)
    for a, b in zip(uninterrupted, read_weights(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.best_epoch == progress.best_epoch
    assert [r["held-out"] for r in again.history] == [r["held-out"] for r in progress.history]
    assert len(again.history) == 6


def constant(model, raw):
    return {"MSE": 1.0}


def rates(progress):
    return [row["train"]["learning rate"] for row in progress.history]


def test_a_stage_stops_after_patience_epochs_without_a_better_value_once_its_rate_dropped(tmp_path):
    config = dataclasses.replace(CONFIG, patience=3)
    task = replace_fields(make_task(epochs=30), measure=constant)
    progress = fit_task(task, config, tmp_path / "step", SETTINGS)[2]
    assert (progress.epoch, progress.best_epoch, progress.drop) == (23, 1, 20)
    assert rates(progress) == pytest.approx([0.02] * 20 + [0.002] * 3)
    # Of a better value after the drop the count begins again.
    values = iter([9, *[8] * 21, 7, *[8] * 7])
    task = replace_fields(make_task(epochs=30), measure=lambda model, raw: {"MSE": next(values)})
    progress = fit_task(task, config, tmp_path / "better", SETTINGS)[2]
    assert (progress.epoch, progress.best_epoch) == (26, 23)


def test_patience_does_not_wait_for_the_drop_of_a_constant_rate(tmp_path):
    task = replace_fields(
        make_task(epochs=30), measure=constant, make_optimizer=lambda rate, steps: keras.optimizers.SGD(rate)
    )
    progress = fit_task(task, dataclasses.replace(CONFIG, patience=3), tmp_path, SETTINGS)[2]
    assert (progress.epoch, progress.drop) == (4, None)


def make_plateau_task(**options):
    return replace_fields(make_task(**options), on_features=True)


PLATEAU = dataclasses.replace(CONFIG, head_schedule="plateau", patience=3)


def test_heads_on_features_drop_their_rate_on_a_plateau_once(tmp_path):
    task = replace_fields(make_plateau_task(epochs=30), measure=constant)
    progress = fit_task(task, PLATEAU, tmp_path / "plateau", SETTINGS)[2]
    # Epoch 1 is the best, epochs 2 to 4 are no better, and neither are 5 to 7 at a tenth of the rate.
    assert (progress.epoch, progress.best_epoch, progress.drop) == (7, 1, 4)
    assert rates(progress) == pytest.approx([0.02] * 4 + [0.002] * 3)
    falling = iter(range(99, 0, -1))
    task = replace_fields(make_plateau_task(epochs=9), measure=lambda model, raw: {"MSE": next(falling)})
    progress = fit_task(task, PLATEAU, tmp_path / "falling", SETTINGS)[2]
    assert progress.drop == 6 and rates(progress) == pytest.approx([0.02] * 6 + [0.002] * 3)
    # Without the flag of the task the schedule stays as it is.
    task = replace_fields(make_task(epochs=30), measure=constant)
    assert fit_task(task, PLATEAU, tmp_path / "images", SETTINGS)[2].drop == 20


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("killed_at", [(3, 7), (4, 0), (4, 3), (6, 1)])
def test_a_run_killed_around_a_plateau_drop_resumes_bit_for_bit(
    tmp_path, train_uninterrupted, killed_at, precision
):
    """The rate drops after epoch 4, that is before step (4, 0)."""
    config = dataclasses.replace(PLATEAU, precision=precision)

    def make(**options):
        return replace_fields(make_plateau_task(epochs=30, **options), measure=constant)

    uninterrupted, progress = train_uninterrupted(("plateau", precision), make(), config)
    with pytest.raises(Killed):
        fit_task(make(killed_at=killed_at), config, tmp_path / "killed", SETTINGS)
    saved = np.load(tmp_path / "killed/state.npz")
    before = values(saved)
    resumed, _, again = fit_task(make(), config, tmp_path / "killed", SETTINGS)
    assert progress.drop == again.drop == 4 and before["drop"] == (4 if killed_at[0] >= 4 else None)
    assert rates(again) == rates(progress) and len(again.history) == 7
    last = [row["train"]["loss"] for row in progress.history]
    assert [row["train"]["loss"] for row in again.history] == last
    for a, b in zip(uninterrupted, read_weights(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def values(saved):
    """Returns the progress in an opened state.npz."""
    return json.loads(str(saved["meta"]))["progress"]


def test_of_equal_epochs_the_first_is_kept(tmp_path):
    values = iter([3.0, 2.0, 2.0 - 1e-9, 2.0, 2.5, 2.0])
    task = replace_fields(make_task(epochs=6), measure=lambda model, raw: {"MSE": next(values)})
    assert fit_task(task, CONFIG, tmp_path, SETTINGS)[2].best_epoch == 2


def test_a_state_of_other_settings_is_refused(tmp_path):
    with pytest.raises(Killed):
        fit_task(make_task(killed_at=(2, 0)), CONFIG, tmp_path, {"k": 3})
    with pytest.raises(UserError, match="k=3, and now k=4"):
        fit_task(make_task(), CONFIG, tmp_path, {"k": 4})


def test_a_damaged_state_file_is_refused(tmp_path):
    (tmp_path / "state.npz").write_bytes(b"PK not really")
    with pytest.raises(UserError, match=r"state\.npz is damaged"):
        fit_task(make_task(), CONFIG, tmp_path, SETTINGS)


def test_a_divergence_after_a_plateau_drop_begins_again_at_the_full_lower_rate(tmp_path):
    """Epoch 6 has a NaN in the first attempt alone."""
    task, attempts = make_plateau_task(epochs=30), []

    def batches(epoch):
        attempts.append(epoch)
        for x, y in task.data.batches(epoch):
            yield x, y * (np.nan if epoch == 5 and attempts.count(0) == 1 else 1)

    task_with_nan = replace_fields(task, batches=batches, measure=constant)
    progress = fit_task(task_with_nan, PLATEAU, tmp_path, SETTINGS)[2]
    assert len(progress.fallbacks) == 1 and progress.learning_rate == 0.01
    assert progress.drop == 4 and rates(progress) == pytest.approx([0.01] * 4 + [0.001] * 3)

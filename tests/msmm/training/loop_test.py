"""The training loop on a regression small enough to be run many times."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from msmm.configs.base import Config
from msmm.core.errors import UserError
from msmm.data.input_pipeline import batches_of, epoch_rows
from msmm.models import losses
from msmm.training.loop import fit_task
from msmm.training.state import LAST_GOOD
from msmm.training.task import Evaluation, Optimisation, Task, TrainingData

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 5)).astype(np.float32)
Y = (X @ RNG.normal(size=5) + 3).astype(np.float32)
CONFIG = Config(batch_size=8, patience=20)
SETTINGS = {"what": "a test"}


class Killed(BaseException):
    """Simulates kill -9: no code of the project catches it."""


def make_task(learning_rate=0.02, epochs=6, killed_at=None, scale=1.0):
    def build():
        keras.utils.set_random_seed(1)
        inputs = keras.Input((5,))
        x = keras.layers.Dense(8, activation="relu")(inputs)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.Dropout(0.3)(x)
        model = keras.Model(inputs, keras.layers.Dense(1)(x))
        return model, {"regressor": model}

    def batches(epoch):
        for step, rows in enumerate(batches_of(epoch_rows(np.arange(64), 0, epoch), 8)):
            if killed_at == (epoch, step):
                raise Killed
            yield X[rows] * scale, Y[rows]

    return Task(
        "test",
        build,
        TrainingData(batches, steps_per_epoch=8),
        Optimisation(losses.squared_error, learning_rate, epochs),
        Evaluation(
            predict=lambda model: np.asarray(model.predict_on_batch(X)),
            ground_truth=Y,
            measure=lambda model, raw: {"MSE": float(((raw[:, 0] - Y) ** 2).mean())},
            select="MSE",
            smaller_is_better=True,
        ),
    )


def replace_fields(task, **fields):
    """Returns a task with other fields of its data, optimisation or evaluation."""
    for part in ("data", "optimisation", "evaluation"):
        names = {f.name for f in dataclasses.fields(getattr(task, part))} & fields.keys()
        changed = dataclasses.replace(getattr(task, part), **{name: fields.pop(name) for name in names})
        task = dataclasses.replace(task, **{part: changed})
    return dataclasses.replace(task, **fields)


def weights(model):
    return [keras.ops.convert_to_numpy(v) for v in model.variables]


def test_training_returns_the_weights_of_the_best_epoch(tmp_path):
    model, parts, progress = fit_task(make_task(epochs=30), CONFIG, tmp_path, SETTINGS)
    by_epoch = [row["held-out"]["MSE"] for row in progress.history]
    assert progress.best_epoch == 1 + int(np.argmin(by_epoch))
    raw = model.predict_on_batch(X)[:, 0]
    assert ((raw - Y) ** 2).mean() == pytest.approx(min(by_epoch), rel=1e-4)
    assert min(by_epoch) < Y.var() / 2
    assert parts["regressor"] is model


def make_averaging_optimizer(learning_rate, steps):
    return keras.optimizers.SGD(learning_rate, use_ema=True, ema_momentum=0.9)


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
            now = weights(plain)[:2]
            mean = now if mean is None else [0.9 * m + 0.1 * w for m, w in zip(mean, now, strict=True)]
        saved.append(mean)
        by_epoch.append(float(((X @ mean[0] + mean[1] - Y[:, None]) ** 2).mean()))
    assert [row["held-out"]["MSE"] for row in progress.history] == pytest.approx(by_epoch, rel=1e-4)
    for w, m in zip(weights(model)[:2], saved[progress.best_epoch - 1], strict=True):
        np.testing.assert_allclose(w, m, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def train_uninterrupted(tmp_path_factory):
    """Returns a function (name, task, config) -> (weights, progress) that trains once for each name."""
    trained = {}

    def train(name, task, config):
        if name not in trained:
            model, _, progress = fit_task(task, config, tmp_path_factory.mktemp("uninterrupted"), SETTINGS)
            trained[name] = weights(model), progress
        return trained[name]

    return train


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
    for a, b in zip(uninterrupted, weights(resumed), strict=True):
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
    for a, b in zip(uninterrupted, weights(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def values(saved):
    """Returns the progress in an opened state.npz."""
    return json.loads(str(saved["meta"]))["progress"]


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


def test_of_equal_epochs_the_first_is_kept(tmp_path):
    values = iter([3.0, 2.0, 2.0 - 1e-9, 2.0, 2.5, 2.0])
    task = replace_fields(make_task(epochs=6), measure=lambda model, raw: {"MSE": next(values)})
    assert fit_task(task, CONFIG, tmp_path, SETTINGS)[2].best_epoch == 2


def test_a_fallback_after_divergence_is_logged_and_survives_a_kill(tmp_path, capsys):
    task = make_task(learning_rate=30.0, epochs=3, scale=100.0)
    model, _, progress = fit_task(task, CONFIG, tmp_path, SETTINGS)
    assert progress.learning_rate < 30 and progress.fallbacks
    assert "the stage begins again at" in capsys.readouterr().out
    assert all(np.isfinite(w).all() for w in weights(model))
    killed = dataclasses.replace(task, data=make_task(killed_at=(1, 0), scale=100.0).data)
    with pytest.raises(Killed):
        fit_task(killed, CONFIG, tmp_path / "killed", SETTINGS)
    again = fit_task(task, CONFIG, tmp_path / "killed", SETTINGS)
    assert again[2].fallbacks == progress.fallbacks
    for a, b in zip(weights(model), weights(again[0]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("bad", ["x", "y"])
def test_the_learning_rate_falls_to_a_third_after_each_divergence(tmp_path, bad):
    """With NaN in y the loss is NaN; with NaN in x the ReLU hides it and only the weights show it."""
    x, y = (X * np.nan, Y) if bad == "x" else (X, Y * np.nan)
    task = replace_fields(make_task(learning_rate=0.1), batches=lambda epoch: [(x, y)])
    with pytest.raises(UserError, match=r"from 0.1 down to"):
        fit_task(task, CONFIG, tmp_path, SETTINGS)
    meta = json.loads(str(np.load(tmp_path / "state.npz")["meta"]))
    rates = [float(f.rsplit(" ", 1)[1]) for f in meta["progress"]["fallbacks"]]
    assert rates == [0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001, 3e-5, 1e-5, 3e-6]
    assert not (tmp_path / LAST_GOOD).exists(), "no epoch was good"


def test_unrecoverable_divergence_reports_the_step_and_keeps_the_last_good_weights(tmp_path):
    """The third epoch has a NaN in it, at any learning rate."""
    task = make_task(learning_rate=1e-5)

    def batches(epoch):
        for step, (x, y) in enumerate(task.data.batches(epoch)):
            yield x, y * (np.nan if (epoch, step) == (2, 4) else 1)

    with pytest.raises(UserError) as error:
        fit_task(replace_fields(task, batches=batches), CONFIG, tmp_path, {"momentum": 0.9, "seed": 7})
    message = str(error.value)
    assert (
        "stage test" in message and "the loss became nan in epoch 3, step 5 at learning rate 1e-09" in message
    )
    assert "(momentum=0.9, seed=7)" in message and "from 1e-05 down to 1e-09" in message
    assert f"the weights of the last good epoch are in {tmp_path / LAST_GOOD}" in message
    saved = np.load(tmp_path / LAST_GOOD)
    assert json.loads(str(saved["meta"]))["progress"]["epoch"] == 2
    arrays = [saved[name] for name in saved.files if name.startswith(("variable", "best"))]
    assert len(arrays) == 2 * len(make_task().build()[0].variables)
    assert all(np.isfinite(array).all() for array in arrays)


@pytest.mark.parametrize("huge", [np.inf, 1e25])
def test_outputs_that_are_not_finite_are_a_divergence(tmp_path, huge):
    """A network with finite weights can still overflow, or its square, on images that it did not train on."""
    predictions = iter([np.full((64, 1), huge), *[np.zeros((64, 1))] * 9])
    task = replace_fields(make_task(epochs=2), predict=lambda model: next(predictions))
    progress = fit_task(task, CONFIG, tmp_path, SETTINGS)[2]
    assert len(progress.fallbacks) == 1 and "held-out" in progress.fallbacks[0]
    assert progress.epoch == 2


def test_a_state_of_other_settings_is_refused(tmp_path):
    with pytest.raises(Killed):
        fit_task(make_task(killed_at=(2, 0)), CONFIG, tmp_path, {"k": 3})
    with pytest.raises(UserError, match="k=3, and now k=4"):
        fit_task(make_task(), CONFIG, tmp_path, {"k": 4})


def test_a_damaged_state_file_is_refused(tmp_path):
    (tmp_path / "state.npz").write_bytes(b"PK not really")
    with pytest.raises(UserError, match=r"state\.npz is damaged"):
        fit_task(make_task(), CONFIG, tmp_path, SETTINGS)


class Recorder(keras.callbacks.Callback):
    """Records the calls of a training, and stops after the epoch `stop_at` (from 0)."""

    def __init__(self, stop_at=None):
        super().__init__()
        self.calls, self.stop_at = [], stop_at

    def on_train_begin(self, logs=None):
        self.calls.append("train begins")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch} begins")

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(f"batch {batch} ends")

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append((epoch, dict(logs)))
        self.model.stop_training = epoch == self.stop_at

    def on_train_end(self, logs=None):
        self.calls.append("train ends")


def test_keras_callbacks_are_called_and_do_not_change_the_training(tmp_path):
    plain, _, progress = fit_task(make_task(epochs=3), CONFIG, tmp_path / "plain", SETTINGS)
    recorder, seen = Recorder(), []
    counter = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    csv_logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    model, _, _ = fit_task(
        make_task(epochs=3), CONFIG, tmp_path / "seen", SETTINGS, callbacks=[recorder, counter, csv_logger]
    )
    for a, b in zip(weights(plain), weights(model), strict=True):
        np.testing.assert_array_equal(a, b)
    one_epoch = [f"batch {step} ends" for step in range(8)]
    expected = ["train begins"]
    for row in progress.history:
        logs = {f"val_{name}": value for name, value in row["held-out"].items()}
        logs |= {"loss": row["train"]["loss"], "learning_rate": row["train"]["learning rate"]}
        expected += [f"epoch {row['epoch'] - 1} begins", *one_epoch, (row["epoch"] - 1, logs)]
    assert recorder.calls == [*expected, "train ends"]
    assert seen == [0, 1, 2]
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0] == "epoch,learning_rate,loss,val_MSE,val_loss" and len(lines) == 4
    assert float(lines[3].split(",")[3]) == progress.history[2]["held-out"]["MSE"]


def test_a_stage_stopped_by_a_callback_stays_stopped(tmp_path):
    progress = fit_task(make_task(), CONFIG, tmp_path, SETTINGS, callbacks=[Recorder(stop_at=2)])[2]
    assert progress.epoch == len(progress.history) == 3 and progress.stopped
    again = fit_task(make_task(), CONFIG, tmp_path, SETTINGS)[2]  # killed after the state was written
    assert again.epoch == 3


def test_a_killed_run_with_callbacks_resumes_bit_for_bit(tmp_path, train_uninterrupted):
    uninterrupted, progress = train_uninterrupted(("float32", None), make_task(), CONFIG)
    with pytest.raises(Killed):
        fit_task(make_task(killed_at=(3, 5)), CONFIG, tmp_path / "killed", SETTINGS, callbacks=[Recorder()])
    recorder = Recorder()
    resumed, _, again = fit_task(make_task(), CONFIG, tmp_path / "killed", SETTINGS, callbacks=[recorder])
    for a, b in zip(uninterrupted, weights(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert recorder.calls[:2] == ["train begins", "epoch 3 begins"]
    assert again.best_epoch == progress.best_epoch


def test_callbacks_see_every_attempt_after_divergence(tmp_path):
    recorder = Recorder()
    task = make_task(learning_rate=30.0, epochs=2, scale=100.0)
    progress = fit_task(task, CONFIG, tmp_path, SETTINGS, callbacks=[recorder])[2]
    assert progress.fallbacks
    attempts = len(progress.fallbacks) + 1
    assert recorder.calls.count("train begins") == recorder.calls.count("train ends") == attempts

"""Keras callbacks in the training loop."""

import keras
import numpy as np
import pytest

from msmm.training.loop import fit_task
from tests.msmm.training.common import Killed, read_weights
from tests.msmm.training.toy_task import CONFIG, SETTINGS, make_task


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
    for a, b in zip(read_weights(plain), read_weights(model), strict=True):
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
    for a, b in zip(uninterrupted, read_weights(resumed), strict=True):
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

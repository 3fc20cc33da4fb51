"""Trainings that diverge: fallbacks, and what is reported."""

import dataclasses
import json

import numpy as np
import pytest

from msmm.core.errors import UserError
from msmm.training.loop import fit_task
from msmm.training.state import LAST_GOOD
from tests.msmm.training.common import Killed, read_weights
from tests.msmm.training.toy_task import CONFIG, SETTINGS, X, Y, make_task, replace_fields


def test_a_fallback_after_divergence_is_logged_and_survives_a_kill(tmp_path, capsys):
    task = make_task(learning_rate=30.0, epochs=3, scale=100.0)
    model, _, progress = fit_task(task, CONFIG, tmp_path, SETTINGS)
    assert progress.learning_rate < 30 and progress.fallbacks
    assert "the stage begins again at" in capsys.readouterr().out
    assert all(np.isfinite(w).all() for w in read_weights(model))
    killed = dataclasses.replace(task, data=make_task(killed_at=(1, 0), scale=100.0).data)
    with pytest.raises(Killed):
        fit_task(killed, CONFIG, tmp_path / "killed", SETTINGS)
    again = fit_task(task, CONFIG, tmp_path / "killed", SETTINGS)
    assert again[2].fallbacks == progress.fallbacks
    for a, b in zip(read_weights(model), read_weights(again[0]), strict=True):
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

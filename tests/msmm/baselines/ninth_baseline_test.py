"""A ninth baseline: a class, a settings dataclass and a registry line are enough to train it as a stage."""

import dataclasses

import keras
import numpy as np
import pytest

from msmm.baselines.baseline import Baseline
from msmm.baselines.loading import load_baseline
from msmm.baselines.softmax import softmax_cross_entropy
from msmm.configs import replace_flat
from msmm.configs.baselines import Training, baseline
from msmm.configs.scenes import Config
from msmm.configs.settings import setting
from msmm.core.errors import UserError
from msmm.training import baseline_tasks, model_parts, stages
from msmm.training.run import Run
from tests.conftest import TINY


class SoftmaxX(Baseline):
    """Softmax with a temperature, on the features of stage finetune. Its name begins with softmax."""

    title = "CNN+softmax with temperature"

    def loss(self, targets, outputs):
        return softmax_cross_entropy(targets, outputs / self.config.softmax_x.temperature)


@dataclasses.dataclass(frozen=True)
class SoftmaxXSettings(Training):
    learning_rate: float = setting(0.01, "a step of Adam; a test")
    epochs: int = setting(3, "at most; a test")
    temperature: float = setting(2.0, "divides the logits; a test", above=0)


@dataclasses.dataclass(frozen=True)
class NinthConfig(Config):
    softmax_x: SoftmaxXSettings = baseline(SoftmaxXSettings, f"{__name__}:SoftmaxX")


@pytest.fixture
def run(trained_run):
    return Run(trained_run.workdir, trained_run.dataset, replace_flat(NinthConfig(), TINY))


def test_a_ninth_baseline_trains_as_a_stage(run):
    assert load_baseline("softmax_x", run.config) is SoftmaxX
    stages.train(run, "softmax_x")
    record = run.stage_record("softmax_x")
    assert len(record["history"]) == 3 and record["inputs"].keys() == {"backbone", "cnn_head"}
    own = {name for name in record["settings"] if name.startswith("softmax")}
    assert own == {"softmax_x_learning_rate", "softmax_x_epochs", "softmax_x_temperature"}
    assert record["history"][-1]["train"]["loss"] < record["history"][0]["train"]["loss"]
    chosen, figures = baseline_tasks.measure_baseline(run, "softmax_x")
    assert (chosen.sum(axis=1) == run.config.k).all() and 0 <= figures["H-F1"] <= 100


def test_settings_of_a_ninth_baseline_are_used_and_recorded(run):
    stages.train(run, "softmax_x")
    hotter = Run(run.workdir, run.dataset, replace_flat(run.config, {"softmax_x_temperature": 1.0}))
    with pytest.raises(UserError, match=r"softmax_x_temperature=2\.0, and now softmax_x_temperature=1\.0"):
        stages.train(hotter, "softmax_x")
    y, z = np.eye(3, dtype=np.float32), np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    warm, hot = (
        keras.ops.convert_to_numpy(baseline_tasks.create_baseline(r, "softmax_x").loss(y, z))
        for r in (run, hotter)
    )
    np.testing.assert_allclose(hot, softmax_cross_entropy(y, z), rtol=1e-6)
    assert (warm != hot).any()


def test_other_stages_do_not_depend_on_a_ninth_baseline(run, trained_run):
    assert stages.recorded_settings(run, "softmax") == stages.recorded_settings(trained_run, "softmax")
    assert model_parts.trained_hash(run, "backbone") == model_parts.trained_hash(trained_run, "backbone")

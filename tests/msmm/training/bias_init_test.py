"""The setting bias_init: where the biases of label classifiers start."""

import numpy as np
import pytest

from msmm.configs import replace_flat
from msmm.configs.base import Config
from msmm.models import heads
from msmm.training import stages, task_building
from msmm.training.run import Run
from msmm.training.stage_table import ASYMMETRIC, resolve_stage

HEADS = {
    "finetune": "cnn_head",
    "textual": "textual_head",
    "classifier": "classifier",
    "joint": "visual_head",
}


def test_log_odds_of_labels_are_finite_and_smoothed():
    labels = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1]], bool)
    np.testing.assert_allclose(heads.label_rates(labels), [1.5 / 4, 0.5 / 4, 3.5 / 4])
    np.testing.assert_allclose(heads.log_odds(labels), np.log([1.5 / 2.5, 0.5 / 3.5, 3.5 / 0.5]))


@pytest.mark.parametrize("stage", HEADS)
def test_biases_start_at_zero_or_at_the_log_odds_of_the_rows_that_train(make_run, stage):
    plain, other = make_run(), make_run(bias_init="log_odds")
    weights = [
        task_building.build_fresh_parts(run, stage, HEADS[stage])[0].get_layer("logits").get_weights()
        for run in (plain, other)
    ]
    np.testing.assert_array_equal(weights[0][0], weights[1][0])  # the kernel does not depend on it
    assert not weights[0][1].any()
    labels = plain.split("train").labels[plain.train_rows]
    np.testing.assert_allclose(weights[1][1], heads.log_odds(labels), rtol=1e-6)


def test_bias_init_is_recorded_where_it_is_not_the_paper_s(make_run):
    plain, other = make_run(), make_run(bias_init="log_odds")
    assert "bias_init" not in stages.recorded_settings(plain, "textual")
    assert stages.recorded_settings(other, "textual")["bias_init"] == "log_odds"
    assert "bias_init" not in stages.recorded_settings(other, "quantity")  # which has no label classifier


@pytest.mark.parametrize("stage", ["finetune", "visual", "classifier", "joint"])
def test_a_stage_with_eq_4_does_not_depend_on_the_settings_of_the_asymmetric_loss(make_run, stage):
    config = replace_flat(Config(), {f"{stage}_loss": "asymmetric_detached"})
    assert not set(ASYMMETRIC) & set(resolve_stage(stage, Config()).options)
    assert set(ASYMMETRIC) <= set(resolve_stage(stage, config).options)
    run = make_run(asymmetric_shift=0.1)
    assert "asymmetric_shift" not in stages.recorded_settings(run, stage)
    run = Run(run.workdir, run.dataset, replace_flat(run.config, {f"{stage}_loss": "asymmetric"}))
    recorded = stages.recorded_settings(run, stage)
    assert recorded["asymmetric_shift"] == 0.1 and recorded[f"{stage}_loss"] == "asymmetric"


def test_each_stage_trains_by_the_loss_of_its_setting(make_run):
    run = make_run(visual_loss="asymmetric_detached", classifier_loss="asymmetric")
    y, z = np.array([[1, 0, 0]]), np.array([[0.5, -0.2, 1.0]], np.float32)
    eq_4 = float(task_building.classification_loss(run, "finetune")(y, z)[0])
    assert eq_4 == pytest.approx(float(task_building.classification_loss(run, "textual")(y, z)[0]))
    for stage in ("visual", "classifier"):
        assert float(task_building.classification_loss(run, stage)(y, z)[0]) < eq_4

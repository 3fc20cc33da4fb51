"""The table of stages and the registries: complete, and read without Keras."""

import subprocess
import sys

import pytest

from msmm import configs
from msmm.baselines.loading import load_baselines
from msmm.quantities.registry import COUNTING_RULES, load_counting_rules
from msmm.training import stage_tasks
from msmm.training.stage_table import JOINT, PAPER_PARTS, PAPER_STAGES, STAGE_OF_PART, STAGES, resolve_stage
from msmm.training.table_rows import COUNTERS, TABLE_ROWS, TAGS_ONLY


def test_every_stage_has_a_task_known_settings_and_known_needs():
    known = configs.flat_settings(configs.get_config("nus_wide"))
    assert {*stage_tasks.MAKE_TASK, JOINT} == STAGES.keys()
    for name, stage in STAGES.items():
        assert set(stage.needs) <= STAGES.keys()
        assert {*stage.settings, *stage.options} <= known.keys()
        assert f"{stage.group}_learning_rate" in known and f"{stage.group}_epochs" in known, name


def test_stages_are_listed_after_the_stages_that_they_need():
    order = list(STAGES)
    for name, stage in STAGES.items():
        assert all(order.index(needed) < order.index(name) for needed in stage.needs)


def test_every_part_is_trained_by_one_stage_and_stage_joint_trains_the_model():
    parts = [part for name in STAGES if name != JOINT for part in STAGES[name].parts]
    assert len(parts) == len(set(parts)) == len(STAGE_OF_PART)
    heads_of_single_branches = {"cnn_head", "textual_head"}
    assert set(STAGES[JOINT].parts) == set(PAPER_PARTS) - heads_of_single_branches
    assert set(PAPER_STAGES) == STAGES.keys() - {"groups", JOINT}


def test_table_rows_consist_of_known_parts():
    for row in (TABLE_ROWS | TAGS_ONLY).values():
        assert row.scorer in STAGE_OF_PART and row.counter in {None, "truth", *COUNTERS.values()}


def test_needs_of_a_stage_follow_the_settings():
    config = configs.get_config("nus_wide")
    grouped = configs.replace_flat(config, {"groups": True})
    assert resolve_stage("classifier", config).needs == ("visual", "textual")
    assert resolve_stage("classifier", grouped).needs == ("visual", "textual", "groups")
    assert resolve_stage("quantity_visual", grouped).needs == ("visual",)
    assert resolve_stage(JOINT, config).needs == ()
    frozen = configs.replace_flat(config, {"finetune_trunk": False})
    assert resolve_stage(JOINT, frozen).needs == ("finetune",)


def test_registries_list_existing_classes():
    for name, baseline in load_baselines().items():
        assert baseline.title and baseline.__module__ == f"msmm.baselines.{name}"
    rules = load_counting_rules()
    assert rules.keys() == COUNTING_RULES.keys() and all(rule.title for rule in rules.values())


@pytest.mark.parametrize(
    "module",
    [
        "msmm.training.stage_table",
        "msmm.training.table_rows",
        "msmm.quantities.registry",
        "msmm.configs.baselines",
    ],
)
def test_tables_are_imported_without_keras_or_numpy(module):
    code = f"import sys, {module}; print(*({{'keras', 'tensorflow', 'numpy'}} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""

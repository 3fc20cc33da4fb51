"""Groups, a third branch: packed from a manifest, used if the setting is on, else ignored."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from experiments.sections.counting_rules import counting_rules_section
from experiments.sections.study import train_and_measure
from msmm.configs import replace_flat
from msmm.configs.custom import Config
from msmm.core.errors import UserError
from msmm.data import records
from msmm.training import frozen_features, model_parts, stages, table_predictions
from msmm.training.run import Run
from msmm.training.stage_table import PAPER_STAGES
from msmm.training.table_rows import COMPLETE, TABLE_ROWS
from tests.conftest import TINY
from tfrecords_tools.datasets import manifest
from tfrecords_tools.packing import builder

LONGER = {
    "k": 1,  # of three classes; with 3 of 3 every epoch would be as good as the first
    "patience": 20,
    "textual_epochs": 20,
    "classifier_epochs": 20,
    "textual_learning_rate": 0.1,
    "classifier_learning_rate": 0.03,
    # A trunk from random weights has features so large that those of groups would drown.
    "backbone": "photos",
    "finetune_trunk": False,
    "image_size": 64,
}
LABELS = ("cat", "dog", "sea")


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A data set of uninformative images and tags, whose groups name the labels."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    rows = []
    for i in range(90):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / f"{i}.jpg")
        chosen = [LABELS[j] for j in range(3) if i >> j & 1] or ["sea"]
        rows.append({"image": f"{i}.jpg", "labels": chosen, "tags": ["photo"] * (i % 2),
                     "groups": [f"Friends of  {name}" for name in chosen],
                     "split": "test" if i % 3 == 0 else "train"})  # fmt: skip
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    builder.pack(manifest.Manifest, "grouped", folder / "data", manifest=folder / "m.jsonl")
    return records.open_dataset(folder / "data", "grouped")


@pytest.fixture
def make_grouped_run(packed, tmp_path):
    def run(workdir="run", **settings):
        return Run(tmp_path / workdir, packed, replace_flat(Config(), {**TINY, **LONGER, **settings}))

    return run


def test_the_records_keep_the_groups_beside_tags_and_labels(packed):
    assert sorted(packed.groups) == ["friends of cat", "friends of dog", "friends of sea"]
    for split in packed.splits:
        groups, (_, _, labels) = packed.group_vectors(split), packed.annotations(split)
        names = [f"friends of {name}" for name in packed.labels]
        np.testing.assert_array_equal(groups[:, [packed.groups.index(name) for name in names]], labels)


def test_a_data_set_without_groups_is_refused(dataset, tmp_path):
    assert dataset.groups == ()
    run = Run(tmp_path, dataset, replace_flat(Config(), {**TINY, "groups": True}))
    with pytest.raises(UserError, match="has no groups: pack a manifest with the field groups"):
        stages.train(run, "groups")


@pytest.mark.slow
def test_groups_are_ignored_by_default(make_grouped_run):
    run = make_grouped_run()
    for stage in ("classifier", "quantity"):
        stages.train(run, stage)
    assert not run.stage_directory("groups").exists()
    f_v, f_t = frozen_features.visual_features(run, "test"), frozen_features.textual_features(run, "test")
    np.testing.assert_array_equal(
        frozen_features.concatenated_features(run, "test")[:], np.concatenate([f_v, f_t], axis=1)
    )
    assert "groups" not in run.stage_record("classifier")["settings"]


@pytest.mark.slow
def test_groups_are_a_third_feature_and_improve_the_heads(make_grouped_run):
    without, run = make_grouped_run("without"), make_grouped_run("with", groups=True)
    for each in (without, run):
        for stage in PAPER_STAGES:
            stages.train(each, stage)
    assert run.stage_record("groups") and run.stage_record("classifier")["settings"]["groups"] is True
    assert {"groups", "groups_head"} <= run.stage_record("quantity")["inputs"].keys()
    f_g = model_parts.load_part(run, "groups").predict_on_batch(run.groups("test").astype(np.float32))
    expected = [
        frozen_features.visual_features(run, "test"),
        frozen_features.textual_features(run, "test"),
        f_g,
    ]
    np.testing.assert_allclose(
        frozen_features.concatenated_features(run, "test")[:], np.concatenate(expected, axis=1), rtol=1e-5
    )
    upper = [
        table_predictions.measure_row(each, TABLE_ROWS["Upper bound"])[1]["H-F1"] for each in (without, run)
    ]
    assert upper[1] > upper[0] + 10
    assert table_predictions.measure_row(run, TABLE_ROWS[COMPLETE])[1]["H-F1"] > 0
    assert table_predictions.save_model(run) is None
    titles = [table.heading for table in counting_rules_section(train_and_measure([run])).tables]
    assert titles and not any("without their tags" in title for title in titles)
    # Stages that do not use groups are the same with and without them.
    assert run.stage_record("visual")["weights"] == without.stage_record("visual")["weights"]
    other = Run(run.workdir, run.dataset, dataclasses.replace(run.config, groups=False))
    with pytest.raises(UserError, match="groups=True, and now groups=None"):
        stages.train(other, "classifier")

"""The sections of tables and counting rules on data sets of arrays, which lack some of the paper's rows."""

import numpy as np
import pytest

from experiments.sections import modern
from experiments.sections.counting_rules import counting_rules_section
from experiments.sections.study import train_and_measure
from experiments.sections.tables import SECTIONS
from msmm.configs import replace_flat
from msmm.configs.base import Config
from msmm.data import records
from msmm.training.run import Run
from tests.conftest import TINY
from tfrecords_tools.datasets.arrays import Arrays
from tfrecords_tools.packing import builder

N, C = 200, 5
METHODS = ("softmax", "warp", "cnn_rnn", "ria", "tag_neighbour", "sinn", "sr_cnn_rnn")
HEADS = ("csra", "ml_decoder", "query2label")
SETTINGS = TINY | {f"{name}_epochs": 1 for name in (*METHODS, *HEADS)}
SETTINGS |= {"query2label_width": 8, "query2label_hidden": 16}


@pytest.fixture
def make_study(tmp_path):
    """Returns a function that packs some arrays and measures a run on them."""

    def make(*given):
        rng = np.random.default_rng(0)
        labels = rng.random((N, C)) < np.linspace(0.2, 0.6, C)
        labels[:, 0] |= ~labels.any(axis=1)
        features = labels @ rng.normal(size=(C, 8)) + 0.3 * rng.normal(size=(N, 8))
        maps = features[:, None, None] + rng.normal(size=(N, 2, 2, 8))
        arrays = {"features": features, "maps": maps, "tags": labels & (rng.random((N, C)) < 0.6)}
        np.savez(tmp_path / "mine.npz", labels=labels, **{name: arrays[name] for name in given})
        builder.pack(Arrays, "mine", tmp_path / "data", arrays=tmp_path / "mine.npz")
        dataset = records.open_dataset(tmp_path / "data", "mine")
        return train_and_measure([Run(tmp_path / "run", dataset, replace_flat(Config(), SETTINGS))])

    return make


def names(table):
    return [row.name for row in table.rows]


@pytest.mark.slow
@pytest.mark.parametrize("given", [("features", "tags"), ("tags",)], ids="+".join)
def test_tables_have_the_rows_that_arrays_allow(make_study, given):
    study = make_study(*given)
    with_features = "features" in given
    assert ("given features" if with_features else "tags alone") in study.description
    sections = {number: SECTIONS[number](study, number) for number in ("I", "III", "V")}
    components = ["Upper bound", "MS-CNN+Tags+LQP", "MS-CNN+LQP", "MS-CNN+Tags", "MS-CNN"]
    expected = (
        components
        if with_features
        else [name for name in components if name[:6] != "MS-CNN" or "Tags" in name]
    )
    assert names(sections["I"].tables[0]) == expected
    assert len(names(sections["III"].tables[0])) == 2 + (8 if with_features else 3)
    assert names(sections["V"].tables[0]) == ["MS-CNN", "MS-CNN+Tags"][not with_features :]
    assert [o.claim.better for o in sections["I"].outcomes if o.claim.worse == "CNN"] == []
    assert len(sections["I"].outcomes) == (4 if with_features else 1)
    rules = counting_rules_section(study)
    assert len([t for t in rules.tables if "upper bound: true m" in names(t)]) == 1 + with_features
    page = study.make_report("title", [*sections.values(), rules], "command")
    assert {row.name for table in page.tables for row in table.rows} >= {"Ours", "guided threshold"}


@pytest.mark.slow
def test_modern_heads_are_compared_on_given_maps(make_study):
    study = make_study("maps", "tags")
    section = modern.modern_section(study)
    (table,) = section.tables
    assert names(table)[:3] == ["MS-CNN", "MS-CNN+Tags", "CSRA"] and len(names(table)) == 8
    assert section.notes[0].startswith("The trunk is frozen: all methods read the same maps.")


def test_given_features_beside_given_maps_are_noted():
    (note, *_) = modern.table_notes(Config(), two_trunks=True)
    assert note.startswith("The paper's rows read the data set's features, and the heads its maps")

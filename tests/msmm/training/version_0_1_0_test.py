"""Work directories of version 0.1.0."""

import json

import numpy as np
import pytest

from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.training import (
    model_parts,
    stages,
    table_predictions,
)
from msmm.training.table_rows import TABLE_ROWS
from tests.msmm.training.common import KillBefore, Killed


def rename_part_as_in_version_0_1_0(run):
    """Renames the files of part quantity_visual as in version 0.1.0."""
    directory = run.stage_directory("quantity_visual")
    (directory / "quantity_visual.weights.h5").rename(directory / "visual_quantity.weights.h5")
    record = json.loads((directory / "stage.json").read_text())
    record["weights"] = {"quantity_visual": record["weights"]["quantity_visual"]}
    (directory / "stage.json").write_text(json.dumps(record))
    (directory / "SHA256SUMS").unlink()
    checksums.write(directory, ["visual_quantity.weights.h5", "stage.json"])


def test_a_work_directory_of_version_0_1_0_is_read(copied_run, trained_run, capsys):
    """In version 0.1.0 the part of stage quantity_visual was called visual_quantity."""
    rename_part_as_in_version_0_1_0(copied_run)
    stages.train(copied_run, "quantity_visual")
    assert "quantity_visual: finished earlier" in capsys.readouterr().out
    digest = model_parts.trained_hash(trained_run, "quantity_visual")
    assert model_parts.trained_hash(copied_run, "quantity_visual") == digest
    assert model_parts.weights_hash(model_parts.load_part(copied_run, "quantity_visual")) == digest
    row = TABLE_ROWS["MS-CNN+LQP"]
    assert (
        table_predictions.measure_row(copied_run, row)[1]
        == table_predictions.measure_row(trained_run, row)[1]
    )


def test_damaged_weights_of_version_0_1_0_are_refused_with_their_file(copied_run):
    rename_part_as_in_version_0_1_0(copied_run)
    path = copied_run.stage_directory("quantity_visual") / "visual_quantity.weights.h5"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"visual_quantity\.weights\.h5 is damaged, .* train quantity_visual"):
        model_parts.load_part(copied_run, "quantity_visual")


def test_an_interrupted_stage_of_version_0_1_0_resumes(make_run, capsys):
    """A state of version 0.1.0 has no field `stopped`; settings and inputs have the same names."""
    uninterrupted = make_run("uninterrupted")
    stages.train(uninterrupted, "textual")
    killed = make_run("killed")

    with pytest.raises(Killed):
        stages.train(killed, "textual", callbacks=[KillBefore(1)])
    path = killed.stage_directory("textual") / "state.npz"
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays.pop("meta")))
    assert meta["settings"]["textual_epochs"] == 2 and meta["settings"]["textual_units"] == 16
    del meta["progress"]["stopped"]
    np.savez(path, meta=np.array(json.dumps(meta)), **arrays)
    stages.train(killed, "textual")
    assert "textual: goes on after epoch 1" in capsys.readouterr().out
    assert killed.stage_record("textual")["weights"] == uninterrupted.stage_record("textual")["weights"]

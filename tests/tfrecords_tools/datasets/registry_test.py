"""A new data set needs one class and one line in the registry."""

import subprocess
import sys

import pytest

from msmm.data import records
from tests.conftest import ROOT
from tfrecords_tools.datasets.registry import pack_command

NEW = """
import dataclasses, sys
from msmm.core import command_line, images
from msmm.scenes import recipe
from tfrecords_tools.datasets import registry
from tfrecords_tools.packing.raw_dataset import Contents, RawDataset, Row, option

@dataclasses.dataclass(kw_only=True)
class Stripes(RawDataset):
    stripes: int = option("How many stripes.", 3)
    colour: str = option("Colour of the stripes.", required="COLOUR, the colour of the stripes")
    drop_untagged = True

    def read(self, settings):
        assert settings.drop_untagged and settings.max_skipped == 0.05
        rows = {"train": self.stripes, "test": 1}
        return Contents(description="Stripes", labels=("stripe",), tags=(self.colour,), num_rows=rows)

    def rows(self, split):
        for i in range(self.stripes if split == "train" else 1):
            picture = images.encode(recipe.draw(0, i, 16).image, 90)
            yield Row(f"{split}{i}", picture, ("stripe",), (self.colour,))

registry.DATASETS["stripes"] = Stripes
assert "tensorflow" not in sys.modules
from tfrecords_tools import pack
if __name__ == "__main__":
    command_line.run(pack.main)
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "new.py").write_text(NEW)

    def run(*arguments):
        command = [
            sys.executable,
            tmp_path / "new.py",
            "--dataset=stripes",
            f"--data_dir={tmp_path}",
            *arguments,
        ]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    return run


def test_registered_data_set_has_flags_and_is_packed(run, tmp_path):
    result = run("--colour=red", "--stripes=5", "--name=red_ones")
    assert result.returncode == 0, result.stderr
    dataset = records.open_dataset(tmp_path, "red_ones")
    assert (dataset.num_examples("train"), dataset.labels, dataset.tags) == (5, ("stripe",), ("red",))
    settings = dataset.report()["settings"]
    assert settings == {
        "stripes": 5,
        "colour": "red",
        "max_skipped": 0.05,
        "drop_unlabelled": True,
        "drop_untagged": True,
        "drop_class_tags": False,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected --colour=COLOUR, the colour of the stripes"),
        (["--colour=red", "--crowds"], "--crowds belongs to --dataset=mscoco, not to stripes"),
    ],
)
def test_invalid_flags_of_a_registered_data_set_are_refused(run, arguments, message):
    result = run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr


def test_flags_of_a_registered_data_set_are_in_the_help(run):
    output = " ".join(run("--helpfull").stdout.split())
    assert "--stripes: stripes: How many stripes. [3]" in output
    assert "[False; nus_wide: True; openclipart: True; stripes: True]" in output


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nus_wide", " --dataset=nus_wide --raw_dir=DIR"),
        ("openclipart", " --dataset=openclipart --raw_dir=DIR"),
        ("mscoco", " --dataset=mscoco --raw_dir=DIR"),
        ("manifest", " --dataset=manifest --manifest=FILE"),
        ("my_photos", ""),
    ],
)
def test_the_command_that_packs_a_data_set_names_its_required_flags(name, expected):
    assert pack_command(name) == "python -m tfrecords_tools.pack" + expected

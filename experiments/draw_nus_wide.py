"""Draws a stand-in for the raw files of NUS-WIDE, in the official layout and at its size.

    python -m experiments.draw_nus_wide --folder=NUS-WIDE-drawn
    python -m experiments.draw_nus_wide --folder=small --rows=2000 --ground_truth=nus_wide_groundtruth

The photographs are noise with the file sizes of photographs; some are missing, broken or Flickr's notice.
Labels are drawn unless --ground_truth names the folder with the real ones, Groundtruth.zip and
ConceptsList.zip. Tags follow Zipf's law, and half of them belong to a label of their image. After an
interruption the same command continues.
"""

import pathlib

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError

_FOLDER = flags.DEFINE_string("folder", None, "Folder to write; it becomes --raw_dir of the packer.")
_ROWS = flags.DEFINE_integer("rows", 269_648, "Rows of both parts together.", 50)
_CLASSES = flags.DEFINE_integer("classes", 81, "Number of labels, if they are drawn.", 2)
_TAGS = flags.DEFINE_integer("tags", 1000, "Number of tags.", 2)
_GROUND_TRUTH = flags.DEFINE_string("ground_truth", None, "Folder with the real labels. [drawn labels]")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of all that is drawn.", 0)


def main() -> None:
    if not _FOLDER.value:
        raise UserError("expected --folder=DIR, where the raw data set is written")
    if _GROUND_TRUTH.value and flags.FLAGS["classes"].present:
        raise UserError("the real labels of --ground_truth are 81: leave --classes out")
    from experiments.benchmarks import nus_wide_tree

    ground_truth = pathlib.Path(_GROUND_TRUTH.value) if _GROUND_TRUTH.value else None
    tree = nus_wide_tree.draw_tree(_ROWS.value, _CLASSES.value, _TAGS.value, _SEED.value, ground_truth)
    nus_wide_tree.write_tree(tree, pathlib.Path(_FOLDER.value))
    print(f"{tree.num_rows:,} rows of {len(tree.concepts):,} labels in {_FOLDER.value}")


if __name__ == "__main__":
    command_line.run(main)

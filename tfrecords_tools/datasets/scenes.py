"""The data set `scenes`: pictures drawn from a seed, with labels and noisy tags, on any machine."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

from msmm.core import images
from msmm.core.errors import UserError
from msmm.scenes import recipe
from tfrecords_tools.packing.raw_dataset import Contents, RawDataset, Row, Settings, option

QUALITY = 90  # of the JPEG files
FIRST_INDEX = {"train": 0, "test": 1_000_000}  # far apart, so that one split can grow without the other


@dataclasses.dataclass(kw_only=True)
class Scenes(RawDataset):
    """Drawn scenes; scene `index` of a seed is always the same picture."""

    num_train: int = option("Scenes to train on.", 4000)
    num_test: int = option("Scenes to test on.", 1500)
    image_size: int = option("Side of a scene, in pixels.", 64)
    scenes_seed: int = option("The seed that the scenes are drawn from.", 0)

    licence = "Apache-2.0, as the program that draws them"
    renamable = False

    def read(self, settings: Settings) -> Contents:
        """Checks the options; there is nothing to read."""
        most = FIRST_INDEX["test"]
        if not (0 < self.num_train <= most and 0 < self.num_test <= most):
            raise UserError(
                f"expected 1 to {most:,} scenes a split, got {self.num_train} to train, "
                f"{self.num_test} to test"
            )
        if self.image_size < 8 or self.scenes_seed < 0:
            raise UserError(
                f"expected at least 8 pixels and a seed of 0 or more, got {self.image_size}, "
                f"{self.scenes_seed}"
            )
        return Contents(
            description=f"Scenes of {self.image_size} pixels drawn from seed {self.scenes_seed}",
            labels=recipe.CONCEPTS,
            tags=recipe.TAGS,
            num_rows={"train": self.num_train, "test": self.num_test},
        )

    def rows(self, split: str) -> Iterator[Row]:
        """Draws the scenes of `split`."""
        first, count = FIRST_INDEX[split], {"train": self.num_train, "test": self.num_test}[split]
        for index in range(first, first + count):
            scene = recipe.draw(self.scenes_seed, index, self.image_size)
            data = images.encode(scene.image, QUALITY)
            yield Row(f"scene-{index:07d}", data, scene.labels, scene.tags)


def pack_scenes(data_dir: str | pathlib.Path, *, overwrite: bool = False, **arguments: Any) -> None:
    """Draws and packs `<data_dir>/scenes/1.0.0/`; `arguments` are options of `Scenes` and `Settings`."""
    from tfrecords_tools.packing import builder  # which imports TensorFlow Datasets

    builder.pack(Scenes, "scenes", data_dir, overwrite=overwrite, **arguments)

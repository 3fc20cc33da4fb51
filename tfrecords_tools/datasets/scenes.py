"""The data set `scenes`: pictures drawn from a seed, with labels and noisy tags, on any machine."""

import pathlib
from collections.abc import Iterable

from msmm.core import images
from msmm.core.errors import UserError
from msmm.scenes import recipe
from tfrecords_tools.packing import builder

NAME = "scenes"
QUALITY = 90  # of the JPEG files
FIRST_INDEX = {"train": 0, "test": 1_000_000}  # apart, so that one split grows without the other


class Scenes(builder.Builder, skip_registration=True):
    """Drawn scenes; scene `index` of a seed is always the same picture."""

    licence = "Apache-2.0, as the program that draws them"

    def __init__(
        self,
        *,
        num_train: int = 4000,
        num_test: int = 1500,
        image_size: int = 64,
        scenes_seed: int = 0,
        **common,
    ):
        """
        num_train, num_test: how many scenes. image_size: their side, in pixels.
        common: the arguments of `builder.Builder`.
        """
        most = FIRST_INDEX["test"]
        if not (0 < num_train <= most and 0 < num_test <= most):
            raise UserError(
                f"expected 1 to {most:,} scenes a split, got {num_train} to train, {num_test} to test"
            )
        if image_size < 8 or scenes_seed < 0:
            raise UserError(
                f"expected at least 8 pixels and a seed of 0 or more, got {image_size}, {scenes_seed}"
            )
        self.description = f"Scenes of {image_size} pixels drawn from seed {scenes_seed}"
        self.labels, self.tags = recipe.CONCEPTS, recipe.TAGS
        self.num_rows = {"train": num_train, "test": num_test}
        self._size, self._seed = image_size, scenes_seed
        super().__init__(**common)

    def rows(self, split: str) -> Iterable[builder.Row]:
        first = FIRST_INDEX[split]
        for index in range(first, first + self.num_rows[split]):
            scene = recipe.draw(self._seed, index, self._size)
            data = images.encode(scene.image, QUALITY)
            yield builder.Row(f"scene-{index:07d}", data, scene.labels, scene.tags)


def pack_scenes(data_dir: str | pathlib.Path, *, overwrite: bool = False, **arguments) -> None:
    """Draws and packs `<data_dir>/scenes/1.0.0/`; `arguments` are those of `Scenes`."""
    builder.pack(Scenes, NAME, data_dir, overwrite=overwrite, **arguments)

"""The example schema of packed data sets; nothing but this file and `records` depends on the format on disk.

A packed data set is a TFDS directory, `<data_dir>/<name>/<version>/`. Every example has `image` (JPEG bytes,
upright RGB), `tags` and `labels` (class ids, with their vocabularies as ClassLabel names) and `image_id`.
Where the data set has groups, it has `groups` like tags. A data set of arrays has no `image`, but `features`
[D] float32, `maps` [h, w, D] float16, both or neither. Records keep one order, the order of the shards.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from msmm.data.tfds import tfds

IMAGE = "image"
TAGS = "tags"
LABELS = "labels"
GROUPS = "groups"
IMAGE_ID = "image_id"
FEATURES, MAPS = "features", "maps"
ARRAY_DTYPES = {FEATURES: np.float32, MAPS: np.float16}  # of given arrays, as on disk


def features(
    labels: tuple[str, ...],
    tags: tuple[str, ...],
    groups: tuple[str, ...] = (),
    arrays: Mapping[str, tuple[int, ...]] | None = None,
) -> "tfds.features.FeaturesDict":
    """Returns the example schema for the vocabularies.

    Args:
        labels: C names.
        tags: T names; T may be 0.
        groups: the names of further side information, if any.
        arrays: in place of images, the shapes of `ARRAY_DTYPES` that every example has, perhaps none.
    """
    from msmm.data.tfds import tfds

    types = tfds.features
    if arrays is None:
        content = {IMAGE: types.Image(shape=(None, None, 3), encoding_format="jpeg")}
    else:
        content = {
            name: types.Tensor(shape=shape, dtype=ARRAY_DTYPES[name], encoding="bytes")
            for name, shape in arrays.items()
        }
    return types.FeaturesDict(
        {
            **content,
            TAGS: types.Sequence(types.ClassLabel(names=tags)),
            LABELS: types.Sequence(types.ClassLabel(names=labels)),
            IMAGE_ID: types.Text(),
            **({GROUPS: types.Sequence(types.ClassLabel(names=groups))} if groups else {}),
        }
    )

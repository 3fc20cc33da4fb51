"""One run: a data set, settings, a seed, and the work directory that holds what comes of them.

<workdir>/run.json                  data set, classes and tags of everything below
<workdir>/features/                 frozen features, shared by the seeds; may be deleted at any time
<workdir>/seed0/<stage>/            one directory a stage of Algorithm 1
    stage.json                      written last: settings, history, figures; evidence that it finished
    <part>.weights.h5               the trained parts
    SHA256SUMS                      of both
    log/                            TensorBoard
    state.npz                       where an interrupted stage goes on
<workdir>/seed0/model/              the finished model, complete in itself
<workdir>/seed0/joint/, joint_model/    the same of stage joint
"""

import copy
import dataclasses
import functools
import pathlib
from collections.abc import Collection, Sequence

import numpy as np

from msmm.configs.base import Config
from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.files import read_json, write_json
from msmm.data import input_pipeline
from msmm.data.records import Dataset


@dataclasses.dataclass(frozen=True)
class Split:
    """The annotations of one split in record order: ids [N] str, tags [N, T] bool, labels [N, C] bool."""

    ids: np.ndarray
    tags: np.ndarray
    labels: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """True label quantities m, [N] int64."""
        return self.labels.sum(axis=1)


class Run:
    """A data set under settings and a seed, in a work directory of its own.

    features_directory: of frozen features, which are keyed by all that they depend on, so that runs
    of other settings may share it; the work directory's own if None.
    Raises UserError where the work directory belongs to another data set or class list.
    """

    def __init__(self, workdir, dataset: Dataset, config: Config, seed: int = 0, features_directory=None):
        self.workdir, self.dataset, self.config, self.seed = pathlib.Path(workdir), dataset, config, seed
        self.features_directory = pathlib.Path(features_directory or self.workdir / "features")
        self.joint = False
        self._claim()

    def _claim(self) -> None:
        identity = {
            "dataset": self.dataset.name,
            "fingerprint": self.dataset.fingerprint,
            "labels": list(self.dataset.labels),
            "tags": list(self.dataset.tags),
        }
        path = self.workdir / "run.json"
        if not path.exists():
            write_json(path, identity)
            return
        found = read_json(path)
        for what in ("dataset", "labels", "tags", "fingerprint"):
            if found.get(what) != identity[what]:
                raise UserError(
                    f"{self.workdir} belongs to data set {found.get('dataset')!r} with "
                    f"{len(found.get('labels', []))} classes and {len(found.get('tags', []))} tags, and "
                    f"its {what} differ from those of {self.dataset.name!r} now: "
                    "choose another --workdir or delete that one"
                )

    @property
    def directory(self) -> pathlib.Path:
        return self.workdir / f"seed{self.seed}"

    def of_joint(self) -> "Run":
        """This run with the parts that stage joint has trained in the place of the other stages'."""
        run = copy.copy(self)
        run.joint = True
        return run

    def as_trained(self, stages: Sequence[str], given: Collection[str] = ()) -> "Run":
        """This run under the settings that its finished `stages` were trained with, but for those `given`."""
        known = {field.name for field in dataclasses.fields(Config)} - set(given)
        found = {}
        for stage in stages:
            found |= {k: v for k, v in self.stage_record(stage)["settings"].items() if k in known}
        run = copy.copy(self)
        found = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
        run.config = dataclasses.replace(self.config, **found)
        return run

    @property
    def model_directory(self) -> pathlib.Path:
        return self.directory / ("joint_model" if self.joint else "model")

    def stage_directory(self, stage: str) -> pathlib.Path:
        return self.directory / stage

    def stage_record(self, stage: str) -> dict | None:
        """What stage.json says, or None while the stage has not finished."""
        path, remedy = self.stage_directory(stage) / "stage.json", f"train {stage} again with --restart"
        if not path.exists():
            return None
        checksums.check(path, remedy)
        return read_json(path, remedy)

    @functools.cache  # noqa: B019 - a run lives as long as the process
    def split(self, name: str) -> Split:
        return Split(*self.dataset.annotations(name))

    @functools.cache  # noqa: B019
    def groups(self, split: str) -> np.ndarray:
        """The groups of a split's images in record order, [N, G] bool; UserError where there are none."""
        return self.dataset.group_vectors(split)

    @functools.cache  # noqa: B019
    def images(self, split: str) -> input_pipeline.Images:
        return input_pipeline.Images(self.dataset, split, self.config.image_size, self.config.image_cache_gib)

    @functools.cached_property
    def held_out_rows(self) -> np.ndarray:
        """Rows of the training split kept for selection, [n] int64."""
        return np.flatnonzero(self._is_held_out)

    @functools.cached_property
    def train_rows(self) -> np.ndarray:
        """Rows of the training split that train, [N - n] int64."""
        return np.flatnonzero(~self._is_held_out)

    @functools.cached_property
    def _is_held_out(self) -> np.ndarray:
        mask = input_pipeline.held_out(self.split("train").ids, self.config.held_out, self.seed)
        if not mask.any():
            raise UserError(
                f"{self.dataset.name} has {len(mask)} training images: expected at least 10, "
                "of which one is held out for selection"
            )
        return mask

"""A run: a data set, settings, a seed, and the work directory that holds its results.

<workdir>/run.json                  data set, classes and tags of everything below
<workdir>/features/                 frozen features, shared by the seeds; may be deleted at any time
<workdir>/seed0/<stage>/            one directory per stage
    stage.json                      written last: settings, history, figures; evidence that it finished
    <part>.weights.h5               the trained parts
    SHA256SUMS                      of both
    log/                            TensorBoard
    state.npz                       the state of an interrupted stage
<workdir>/seed0/model/              the finished model, complete in itself
<workdir>/seed0/joint/, joint_model/    the same of stage joint
"""

import copy
import dataclasses
import functools
import pathlib
from collections.abc import Collection, Sequence

import numpy as np

from msmm.configs import flat_settings, replace_flat
from msmm.configs.base import Config
from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.files import read_json, write_json
from msmm.data import input_pipeline
from msmm.data.records import Dataset


@dataclasses.dataclass(frozen=True)
class Split:
    """The annotations of one split, in record order.

    Attributes:
        ids: [N] str.
        tags: [N, T] bool.
        labels: [N, C] bool.
    """

    ids: np.ndarray
    tags: np.ndarray
    labels: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """True label quantities m, [N] int64."""
        return self.labels.sum(axis=1)


class Run:
    """A data set with settings and a seed, in a work directory of its own.

    Args:
        workdir: the work directory.
        dataset: the data set.
        config: the settings.
        seed: of weights, order and held-out images.
        features_directory: of frozen features, which are keyed by all that they depend on, so that runs
            with other settings may share it; None: the work directory's own.

    Raises:
        UserError: the work directory belongs to another data set or class list.
    """

    def __init__(self, workdir, dataset: Dataset, config: Config, seed: int = 0, features_directory=None):
        self.workdir, self.dataset, self.config, self.seed = pathlib.Path(workdir), dataset, config, seed
        self.features_directory = pathlib.Path(features_directory or self.workdir / "features")
        self.uses_joint_parts = False
        # The run's own: a cache of the class would keep every run, with its tables and images, for ever.
        self._splits: dict[str, Split] = {}
        self._groups: dict[str, np.ndarray] = {}
        self._images: dict[str, input_pipeline.Images] = {}
        self._claim_workdir()

    def _claim_workdir(self) -> None:
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
        owner = read_json(path)
        for key in ("dataset", "labels", "tags", "fingerprint"):
            if owner.get(key) != identity[key]:
                raise UserError(
                    f"{self.workdir} belongs to data set {owner.get('dataset')!r} with "
                    f"{len(owner.get('labels', []))} classes and {len(owner.get('tags', []))} tags, and "
                    f"its {key} differ from those of {self.dataset.name!r} now: "
                    "choose another --workdir or delete that one"
                )

    @property
    def directory(self) -> pathlib.Path:
        """The directory of this seed."""
        return self.workdir / f"seed{self.seed}"

    def with_joint_parts(self) -> "Run":
        """Returns this run with the parts that stage joint trained in place of the other stages' parts."""
        run = copy.copy(self)
        run.uses_joint_parts = True
        return run

    def with_recorded_settings(self, stages: Sequence[str], given: Collection[str] = ()) -> "Run":
        """Returns this run with the recorded settings of its finished `stages`, except the `given` ones."""
        known = set(flat_settings(self.config)) - set(given)
        recorded: dict = {}
        for stage in stages:
            settings = self.finished_record(stage)["settings"]
            recorded |= {name: value for name, value in settings.items() if name in known}
        config = replace_flat(self.config, recorded)
        # Not a copy: held-out rows and images that this run has cached depend on its settings.
        run = Run(self.workdir, self.dataset, config, self.seed, self.features_directory)
        run.uses_joint_parts = self.uses_joint_parts
        return run

    @property
    def model_directory(self) -> pathlib.Path:
        """The directory of the finished model."""
        return self.directory / ("joint_model" if self.uses_joint_parts else "model")

    def stage_directory(self, stage: str) -> pathlib.Path:
        """Returns the directory of a stage or baseline."""
        return self.directory / stage

    def stage_record(self, stage: str) -> dict | None:
        """Returns the content of stage.json, or None if the stage has not finished."""
        path, remedy = self.stage_directory(stage) / "stage.json", f"train {stage} again with --restart"
        if not path.exists():
            return None
        checksums.check_file(path, remedy)
        return read_json(path, remedy)

    def finished_record(self, stage: str) -> dict:
        """Returns the content of stage.json of a stage that must have finished.

        Raises:
            UserError: it has not finished.
        """
        record = self.stage_record(stage)
        if record is None:
            raise UserError(f"{self.directory} has no finished stage {stage}: train it first")
        return record

    def split(self, name: str) -> Split:
        """Returns the annotations of a split, read once."""
        if name not in self._splits:
            self._splits[name] = Split(*self.dataset.annotations(name))
        return self._splits[name]

    def groups(self, split: str) -> np.ndarray:
        """Returns the groups of a split's images, [N, G] bool; raises UserError if there are none."""
        if split not in self._groups:
            self._groups[split] = self.dataset.group_vectors(split)
        return self._groups[split]

    def images(self, split: str) -> input_pipeline.Images:
        """Returns the images of a split at the size of the settings.

        Raises:
            UserError: the data set has no images.
        """
        if split not in self._images:
            self.dataset.require_images()
            size, cache_gib = self.config.image_size, self.config.image_cache_gib
            self._images[split] = input_pipeline.Images(self.dataset, split, size, cache_gib)
        return self._images[split]

    def discard_images(self) -> None:
        """Frees the decoded images, gigabytes on real data; they are read again where they are needed."""
        self._images.clear()

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
        mask = input_pipeline.choose_held_out(self.split("train").ids, self.config.held_out, self.seed)
        if not mask.any():
            raise UserError(
                f"{self.dataset.name} has {len(mask)} training images: expected at least 10, "
                "of which one is held out for selection"
            )
        return mask

"""Sweeps: trains a stage or a compared method under several settings and compares them on held-out images.

Test images are never read: the runs of a sweep see a data set that has the training split alone.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from experiments.reporting.report import Report
from experiments.reporting.table import Row, Table
from experiments.sections.study import package_versions
from msmm import configs
from msmm.configs import flatten, replace_flat
from msmm.configs.base import Config
from msmm.core.errors import UserError
from msmm.data.records import Dataset
from msmm.training.run import Run
from msmm.training.stages import adopt_stages, stage_of, train

LOWER_IS_BETTER = ("loss", "MSE")


class TrainingSplit(Dataset):
    """A packed data set without its test split."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The training split alone."""
        return ("train",)

    def _split(self, split: str):
        if split != "train":
            raise RuntimeError(f"a sweep reads no {split} images")
        return super()._split(split)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the whole data set, so that runs on it share frozen features."""
        return self.whole.fingerprint

    @classmethod
    def of(cls, dataset: Dataset) -> "TrainingSplit":
        """Returns a data set without its test split."""
        view = cls(**{field.name: getattr(dataset, field.name) for field in dataclasses.fields(dataset)})
        object.__setattr__(view, "whole", dataset)
        return view


@dataclasses.dataclass(frozen=True)
class Trial:
    """One combination of swept settings, trained with every seed.

    settings: flat name -> value. records: stage.json of each seed. own: the settings are the configuration's.
    """

    settings: Mapping[str, object]
    records: Sequence[Mapping]
    own: bool

    @property
    def name(self) -> str:
        """The settings in words."""
        return _name(self.settings) + " (as set)" * self.own

    @property
    def fell_back(self) -> bool:
        """Returns whether training diverged and restarted at a lower learning rate than the named one."""
        return any(record["fallbacks"] for record in self.records)

    def mean(self, metric: str) -> float:
        """Returns the mean over seeds of a held-out metric of the kept epoch."""
        return float(np.mean([record["held-out"][metric] for record in self.records]))


def combine(grid: Mapping[str, Sequence]) -> list[dict]:
    """Returns all combinations of the values of several settings, flat name -> value each."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def run_trials(
    dataset: Dataset, config: Config, stage: str, grid: Mapping[str, Sequence], seeds: Iterable[int], workdir
) -> list[Trial]:
    """Trains a stage under every combination of settings with every seed, or finds it trained.

    Stages that it needs and that the settings do not change are trained once, in `workdir` itself.
    """
    dataset, seeds = TrainingSplit.of(dataset), list(seeds)
    trials = []
    for settings in combine(grid):
        changed = replace_flat(config, settings)
        print(f"\n{stage}: {_name(settings)}", flush=True)
        records = []
        for seed in seeds:
            base = Run(workdir, dataset, config, seed)
            for needed in stage_of(base, stage).needs:
                train(base, needed)
            directory = pathlib.Path(workdir) / "sweep" / stage / _name(settings)
            run = Run(directory, dataset, changed, seed, base.features_directory)
            adopt_stages(run, base)
            train(run, stage)
            records.append(run.stage_record(stage))
            for used in (base, run):
                used.discard_images()
        trials.append(Trial(settings, records, changed == config))
    return trials


def choose_trial(trials: Sequence[Trial], metric: str) -> Trial:
    """Returns the trial with the best mean over seeds of a held-out metric; the earlier one of equals.

    A trial that fell back to a lower learning rate is chosen only where all did.
    """
    candidates = [trial for trial in trials if not trial.fell_back] or trials
    known = candidates[0].records[0]["held-out"]
    if metric not in known:
        raise UserError(f"expected --by of {', '.join(known)}. Received: {metric!r}")
    best = min if metric in LOWER_IS_BETTER else max
    return best(candidates, key=lambda trial: trial.mean(metric))


def make_report(
    dataset: Dataset, config: Config, stage: str, trials: Sequence[Trial], metric: str, command: str
) -> Report:
    """Makes the report of a sweep: a table of the trials and the chosen settings."""
    chosen = choose_trial(trials, metric)
    seeds, images = len(trials[0].records), dataset.num_examples("train")
    columns = tuple(trials[0].records[0]["held-out"])
    rows = [Row(trial.name, [_row_values(record) for record in trial.records]) for trial in trials]
    held_out = min(config.held_out, images // 10)
    heading = (
        f"Measured: {stage} on held-out images of {dataset.name}, {images:,} training images, about "
        f"{held_out:,} of them held out, {seeds} seed{'s' * (seeds > 1)}"
    )
    flags = " ".join(f"--{name}={_text(value)}" for name, value in chosen.settings.items())
    order = "lowest" if metric in LOWER_IS_BETTER else "highest"
    notes = [
        f"Chosen: {flags}, the {order} mean {metric} over seeds"
        + (", as it was set." if chosen.own else f"; the setting so far is {_own_settings(config, chosen)}."),
        "Values come from the kept epoch on the held-out training images. No test image was read, so a "
        "method that draws on test images (tag_neighbour_pool=all) draws on training images alone.",
        *_spread_notes(trials, chosen, metric),
        *(
            f"{trial.name}: training diverged and fell back to a lower learning rate, so it is not chosen."
            for trial in trials
            if trial.fell_back and trial is not chosen
        ),
    ]
    return Report(
        title=f"Sweep of {stage} on {dataset.name}",
        tables=[Table(heading, rows, (*columns, "best epoch", "seconds"), "Settings", notes=notes)],
        settings=configs.describe_config(config, [stage]),
        versions=package_versions(),
        command=command,
    )


def _spread_notes(trials: Sequence[Trial], chosen: Trial, metric: str) -> list[str]:
    """Returns a note on how far the chosen trial is ahead of the next one, in the noise of seeds."""
    others = [trial for trial in trials if trial is not chosen and not trial.fell_back]
    if not others:
        return []
    second = choose_trial(others, metric)
    sign = -1 if metric in LOWER_IS_BETTER else 1
    gains = [
        sign * (a["held-out"][metric] - b["held-out"][metric])
        for a, b in zip(chosen.records, second.records, strict=True)
    ]
    spread = f" ± {np.std(gains, ddof=1):.3g} over seeds" if len(gains) > 1 else ", with one seed"
    return [f"It is ahead of the next, {second.name}, by {np.mean(gains):.3g}{spread}."]


def _row_values(record: Mapping) -> dict[str, float]:
    return {
        **record["held-out"],
        "best epoch": float(record["best_epoch"]),
        "seconds": float(record["seconds"]),
    }


def _own_settings(config: Config, trial: Trial) -> str:
    values = flatten(config)
    return ", ".join(f"{name}={_text(values[name])}" for name in trial.settings)


def _name(settings: Mapping[str, object]) -> str:
    return ",".join(f"{name}={_text(value)}" for name, value in settings.items())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)

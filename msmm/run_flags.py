"""Flags that name a run, and the data set, settings and runs that they name; commands alone import it."""

import pathlib

from absl import flags

from msmm.configs import base
from msmm.core.command_line import FLAGS, define_dataclass_flags, import_tensorflow, overridden


def define_run_flags(dataset: str = "scenes") -> None:
    """The flags that name a run: its data set, work directory, settings and seed."""
    flags.DEFINE_string("dataset", dataset, "Name of a packed data set in --data_dir.")
    flags.DEFINE_string("data_dir", "data", "Where packed data sets are.")
    flags.DEFINE_string("workdir", None, "Where the work goes; default runs/<dataset>.")
    flags.DEFINE_string(
        "config",
        None,
        "Settings to start from; default the data set's own, else custom. In [brackets]: nus_wide's.",
    )
    flags.DEFINE_integer("seed", 0, "Seed of weights, order and held-out images.", lower_bound=0)


def define_experiment_flags(dataset: str = "scenes") -> None:
    """The flags that name several runs, alike but for their seeds, and every setting."""
    define_run_flags(dataset)
    flags.DEFINE_integer("seeds", 1, "How many runs, with seeds --seed, --seed+1, …", lower_bound=1)
    define_dataclass_flags(base.Config)


def open_dataset():
    """The data set that the flags name. `scenes` is drawn and packed if it is not there yet."""
    from msmm.data import records

    name, data_dir = FLAGS.dataset, pathlib.Path(FLAGS.data_dir)
    if name != "scenes":
        records.find_dataset(data_dir, name)  # before TensorFlow takes its seconds
    import_tensorflow()
    if name == "scenes" and not (data_dir / name).exists():
        from tfrecords_tools.datasets import scenes

        print(f"drawing the data set scenes into {data_dir / name}", flush=True)
        scenes.pack_scenes(data_dir)
    return records.open_dataset(data_dir, name)


def base_config():
    """Returns the settings that --config or, without it, --dataset names."""
    from msmm import configs

    name = FLAGS.config or (FLAGS.dataset if FLAGS.dataset in configs.CONFIGS else "custom")
    return configs.get_config(name)


def config():
    """Returns the settings that the flags name, with the fields that they override."""
    return overridden(base_config())


def open_run(seed: int | None = None):
    """The run that the flags name, with `seed` instead of theirs if given."""
    settings = config()  # before any data is drawn: a wrong one should be said at once
    dataset = open_dataset()
    from msmm.training.run import Run

    workdir = FLAGS.workdir or f"runs/{FLAGS.dataset}"
    return Run(workdir, dataset, settings, FLAGS.seed if seed is None else seed)


def open_runs() -> list:
    """The runs that the flags of an experiment name, in the order of their seeds."""
    return [open_run(seed) for seed in range(FLAGS.seed, FLAGS.seed + FLAGS.seeds)]

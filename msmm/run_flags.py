"""Flags of runs and settings, and the data set, settings and runs that they name; for commands only."""

import pathlib
from collections.abc import Callable

from absl import flags

from msmm import configs
from msmm.configs.base import Config
from msmm.core.command_line import FLAGS, import_tensorflow

flags.disclaim_key_flags()  # flags that are defined here belong to the command that asks for them


def define_run_flags(dataset: str = "scenes") -> None:
    """Defines the flags that name a run: its data set, work directory, settings and seed."""
    flags.DEFINE_string("dataset", dataset, "Name of a packed data set in --data_dir.")
    flags.DEFINE_string("data_dir", "data", "Where packed data sets are.")
    flags.DEFINE_string("workdir", None, "Where results are written; default runs/<dataset>.")
    flags.DEFINE_string(
        "config",
        None,
        "Settings to start from; default the data set's own, else custom. They may differ from nus_wide's, "
        "which stand in [brackets]: python -m msmm.describe shows rates and epochs.",
    )
    flags.DEFINE_integer("seed", 0, "Seed of weights, order and held-out images.", lower_bound=0)


def define_setting_flags() -> None:
    """Defines one flag for each setting, under its flat name, unset by default, with its documentation."""
    define: dict[type, Callable] = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
        tuple: flags.DEFINE_list,
    }
    for name, setting in configs.flat_settings(Config).items():
        field = setting.field
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        text = f"[setting] {field.metadata['help']} [nus_wide: {default if default != '' else 'none'}]"
        define[type(field.default)](name, None, text)


def define_experiment_flags(dataset: str = "scenes") -> None:
    """Defines the flags that name several runs, equal except for their seeds, and every setting."""
    define_run_flags(dataset)
    flags.DEFINE_integer("seeds", 1, "How many runs, with seeds --seed, --seed+1, …", lower_bound=1)
    define_setting_flags()


def given_settings() -> dict:
    """Returns the settings that the command line sets, by flat name."""
    return {name: FLAGS[name].value for name in configs.flat_settings(Config) if FLAGS[name].present}


def base_config() -> Config:
    """Returns the settings that --config or, without it, --dataset names."""
    name = FLAGS.config or (FLAGS.dataset if FLAGS.dataset in configs.CONFIGS else "custom")
    return configs.get_config(name)


def read_config() -> Config:
    """Returns the settings that the flags name, with the values that they set."""
    return configs.replace_flat(base_config(), given_settings())


def open_dataset():
    """Opens the data set that the flags name. `scenes` is drawn and packed if it does not exist."""
    from msmm.data import locating, records

    name, data_dir = FLAGS.dataset, pathlib.Path(FLAGS.data_dir)
    if name != "scenes":
        from tfrecords_tools.datasets.registry import pack_command

        # An error should not wait for TensorFlow.
        locating.find_dataset(data_dir, name, pack_command(name))
    import_tensorflow()
    if name == "scenes" and not (data_dir / name).exists():
        from tfrecords_tools.datasets import scenes

        print(f"drawing the data set scenes into {data_dir / name}", flush=True)
        scenes.pack_scenes(data_dir)
    return records.open_dataset(data_dir, name)


def open_run(seed: int | None = None):
    """Opens the run that the flags name, with `seed` instead of theirs if given."""
    settings = read_config()  # before any data is drawn: a wrong value should fail at once
    dataset = open_dataset()
    from msmm.training.run import Run

    workdir = FLAGS.workdir or f"runs/{FLAGS.dataset}"
    return Run(workdir, dataset, settings, FLAGS.seed if seed is None else seed)


def open_runs(need_images: bool = True) -> list:
    """Opens the runs that the flags of an experiment name, in the order of their seeds.

    need_images: raise UserError where the data set has none.
    """
    runs = [open_run(seed) for seed in range(FLAGS.seed, FLAGS.seed + FLAGS.seeds)]
    if need_images:
        runs[0].dataset.require_images()
    return runs

import contextlib
import gc
import os
import pathlib
import shutil
import signal
import time
import zlib

import pytest

from msmm.core.errors import UserError
from tests.processors import FOLDERS

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as in commands
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
gc.disable()  # until all tests are imported

ROOT = pathlib.Path(__file__).parents[1]
# Options of a process that receives interrupts, which background commands of a shell ignore.
STOPPABLE = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
# Folders whose files take long: they train, or start many commands.
LONG = ("tests/msmm/training/", "tests/msmm/baselines/", "tests/reliability/", "tests/experiments/")
SHARED = ROOT.parent / "shared"

# Settings with which every stage trains in seconds.
TINY = {
    "backbone": "resnet-1-1-1-1-w4",
    "weights": "none",
    "image_size": 32,
    "batch_size": 16,
    "bn_momentum": 0.9,
    "bn_batches": 3,
    "textual_units": 16,
    "finetune_epochs": 2,
    "visual_epochs": 2,
    "textual_epochs": 2,
    "classifier_epochs": 2,
    "quantity_epochs": 2,
    "finetune_learning_rate": 0.01,
    "quantity_learning_rate": 1e-5,  # features of a hardly trained network are large
}


def pytest_addoption(parser):
    parser.addoption("--share", help="I/N: one of N shares of the tests, by a hash of their names")
    parser.addoption(
        "--budget", type=float, help="Seconds after which no further test starts; the rest is deselected"
    )


def pytest_collection_modifyitems(config, items):
    """Marks the tests that compare numbers, puts long files first, and keeps the tests of one share.

    Two processes end together if the files that they take last are short. Cases of a test stay in one share,
    as they share fixtures.
    """
    items.sort(key=lambda item: not item.path.relative_to(ROOT).as_posix().startswith(LONG))
    for item in items:
        if str(item.path.relative_to(ROOT).as_posix()).startswith(FOLDERS):
            item.add_marker(pytest.mark.numeric)
    if share := config.getoption("share"):
        index, shares = map(int, share.split("/"))
        left_out = [i for i in items if zlib.crc32(i.nodeid.partition("[")[0].encode()) % shares != index]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_sessionstart(session):
    session.started_at = time.monotonic()


def pytest_collection_finish():
    """Makes the garbage collector visit fewer objects, and less often.

    By default it takes a quarter of the time of tests that train, as TensorFlow has millions of objects.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    gc.enable()


def pytest_sessionfinish():
    gc.freeze()  # pytest collects several times when it ends


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Deselects a test that would start after --budget."""
    budget = item.config.getoption("budget")
    if budget is None or time.monotonic() - item.session.started_at < budget:
        return None
    item.config.hook.pytest_deselected(items=[item])
    return True


def _skip_impossible_instruction_sets():
    """Skips a test where OpenVINO uses AVX-512, but ONEDNN_MAX_CPU_ISA forbids it to its oneDNN.

    It then says "bad combination", in this process or in the output of a command.
    """
    try:
        return (yield)
    except (RuntimeError, UserError, AssertionError) as error:
        limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
        if limit is None or "bad combination" not in str(error):
            raise
        pytest.skip(f"ONEDNN_MAX_CPU_ISA={limit}: OpenVINO refuses a oneDNN with less than its own kernels")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():
    return (yield from _skip_impossible_instruction_sets())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    return (yield from _skip_impossible_instruction_sets())


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A directory with a small data set `scenes`: 100 training and 40 test images of 32 pixels."""
    from tfrecords_tools.datasets import scenes

    directory = tmp_path_factory.mktemp("data")
    scenes.pack_scenes(directory, num_train=100, num_test=40, image_size=32)
    return directory


@pytest.fixture(scope="session")
def dataset(data_dir):
    from msmm.data import records

    return records.open_dataset(data_dir, "scenes")


@pytest.fixture
def make_run(dataset, tmp_path):
    """Returns a function that makes runs of the small data set, by default in one work directory."""
    from msmm.configs import replace_flat
    from msmm.configs.scenes import Config
    from msmm.training.run import Run

    def make(workdir="run", seed=0, **settings):
        return Run(tmp_path / workdir, dataset, replace_flat(Config(), {**TINY, **settings}), seed)

    return make


# The stages that `trained_run` trains; the others are trained because these need them.
TRAINED = ("quantity_visual", "classifier", "quantity")


@contextlib.contextmanager
def once_for_all_workers(tmp_path_factory, name):
    """Yields (folder, whether it is new) while other workers of pytest-xdist wait for the same folder."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    try:
        import fcntl
    except ImportError:  # Windows: every worker has a folder of its own
        yield tmp_path_factory.mktemp(name), True
        return
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        finished = folder / f"{name}.finished"
        yield folder / name, not finished.exists()
        finished.touch()


@pytest.fixture(scope="session")
def trained_run(dataset, tmp_path_factory):
    """A run with every stage finished, which is trained once for all workers. Tests must not change it.

    `finished.json` in its work directory has the stages that had finished after each of `TRAINED`.
    """
    from msmm.configs import replace_flat
    from msmm.configs.scenes import Config
    from msmm.core.files import write_json
    from msmm.training import stages
    from msmm.training.run import Run
    from msmm.training.stage_table import PAPER_STAGES

    config, workdir = replace_flat(Config(), TINY), tmp_path_factory.mktemp("runs") / "trained"
    with once_for_all_workers(tmp_path_factory, "trained_run") as (folder, is_new):
        if is_new:
            run, finished = Run(folder, dataset, config), {}
            for stage in TRAINED:
                stages.train(run, stage)
                finished[stage] = [name for name in PAPER_STAGES if run.stage_record(name)]
            write_json(folder / "finished.json", finished)
        shutil.copytree(folder, workdir)
    return Run(workdir, dataset, config)


@pytest.fixture(scope="session")
def requires_bfloat16():
    """Skips a test where a setting of oneDNN prevents TensorFlow from computing in bfloat16."""
    import tensorflow as tf

    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    ones = tf.ones((1, 4, 4, 1), tf.bfloat16)
    try:
        tf.nn.conv2d(ones, tf.ones((3, 3, 1, 1), tf.bfloat16), 1, "SAME")
    except tf.errors.AbortedError:
        if limit is None:
            raise
        pytest.skip(
            f"ONEDNN_MAX_CPU_ISA={limit}: TensorFlow computes in bfloat16 with oneDNN, which lacks it then"
        )

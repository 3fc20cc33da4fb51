"""Training steps shared among replicas equal those of one process."""

import json
import os
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from msmm.core.errors import UserError
from msmm.training import compiling, stages
from msmm.training.distribution import Distribution
from tests.conftest import ROOT, TINY


def find_free_addresses(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    free = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return free


def start(arguments, cwd, tf_config=None, devices=1):
    """Starts `msmm.train` in its own process, on `devices` CPU devices."""
    code = (
        "import sys, runpy, tensorflow as tf; cpu = tf.config.list_physical_devices('CPU')[0];"
        f"devices = {devices} * [tf.config.LogicalDeviceConfiguration()];"
        "tf.config.set_logical_device_configuration(cpu, devices);"
        f"sys.argv[1:] = {arguments!r}; runpy.run_module('msmm.train', run_name='__main__', alter_sys=True)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    if tf_config:
        env["TF_CONFIG"] = json.dumps(tf_config)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code], cwd=cwd, env=env, text=True, **pipes)


def finish(*processes):
    outputs = [process.communicate(timeout=240) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [out for out, _ in outputs]


def cluster(count):
    workers = find_free_addresses(count)
    return [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}} for i in range(count)]


def history(directory, stage):
    return json.loads((directory / f"seed0/{stage}/stage.json").read_text())["history"]


def assert_same_training(directory, other, stage, atol=1e-4):
    """Asserts equal losses of every epoch and equal final weights, up to the order of sums."""
    actual, expected = history(directory, stage), history(other, stage)
    for part, rel in (("train", 1e-5), ("held-out", 1e-4)):
        losses = [[epoch[part]["loss"] for epoch in epochs] for epochs in (actual, expected)]
        assert losses[0] == pytest.approx(losses[1], rel=rel), part
    import h5py

    def values(path):
        arrays = {}
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item: arrays.update({name: item[()]} if hasattr(item, "shape") else {})
            )
        return arrays

    for path in sorted((directory / f"seed0/{stage}").glob("*.h5")):
        actual, expected = values(path), values(other / f"seed0/{stage}" / path.name)
        assert actual.keys() == expected.keys() and actual
        for name, value in actual.items():
            scale = max(np.abs(expected[name]).max(), 1e-3)
            np.testing.assert_allclose(value / scale, expected[name] / scale, atol=atol, err_msg=name)


# Small steps, since this network is chaotic: at 1e-3 rounding errors grow a hundredfold a step, at 1e-5
# losses agree to 4e-7, where batch normalisation over parts of the batch shows as 1e-2. A large weight
# decay shows if it is counted twice.
SMALL_STEPS = {**TINY, "finetune_learning_rate": 1e-5, "visual_learning_rate": 1e-5, "weight_decay": 10.0}
SETTINGS = [f"--{name}={value}" for name, value in SMALL_STEPS.items()]


@pytest.fixture
def directory(data_dir, tmp_path):
    (tmp_path / "data").symlink_to(data_dir)
    return tmp_path


def test_regularisation_losses_of_a_backbone_count_once(make_run, tmp_path):
    image = x = keras.Input((32, 32, 3))
    for _ in range(5):
        x = keras.layers.Conv2D(4, 3, 2, "same", kernel_regularizer=keras.regularizers.L2(1.0))(x)
    keras.Model(image, x).save(tmp_path / "regular.keras")
    run = make_run(backbone=str(tmp_path / "regular.keras"), textual_units=4)
    task = stages.make_task(run, "finetune")
    model, _ = compiling.build_compiled(task, run.config, 0.01)
    x, y = next(iter(task.data.batches(0)))
    loss = model.test_on_batch(x, y)
    steps = Distribution("mirrored", run.config).steps(task, run.config, 0, 0.01, model)
    assert next(iter(steps(0)))[0] == pytest.approx(loss, rel=1e-4)
    assert loss > float(sum(model.losses)) > 1


@pytest.mark.slow
def test_two_processes_train_as_one_process(directory):
    arguments = ["--stage=finetune", *SETTINGS]
    shared = [*arguments, "--distribute=multi_worker", "--workdir=two"]
    workers = [start(shared, directory, config) for config in cluster(2)]
    outputs = finish(*workers)
    finish(start([*arguments, "--workdir=one"], directory))
    assert_same_training(directory / "two", directory / "one", "finetune")
    assert "finetune: epoch 2/2" in outputs[0] and outputs[1].split() == ["worker", "1:", "done"]


@pytest.mark.slow
@pytest.mark.parametrize("maps_cache_gib", [0, 8])
def test_two_processes_train_all_stages_and_resume(directory, maps_cache_gib):
    """Streamed images, a killed cluster that resumes, and stages that only the chief trains."""
    settings = [*SETTINGS, f"--maps_cache_gib={maps_cache_gib}", "--image_cache_gib=0", "--finetune_epochs=6"]
    shared = ["--stage=all", *settings, "--distribute=multi_worker", "--workdir=two"]
    workers = [start(shared, directory, config) for config in cluster(2)]
    state = directory / "two/seed0/finetune/state.npz"
    while not state.exists():
        assert all(worker.poll() is None for worker in workers)
    for worker in workers:
        worker.kill()
        worker.wait()
    outputs = finish(*(start(shared, directory, config) for config in cluster(2)))
    assert "finetune: goes on after epoch" in outputs[0]
    finish(start(["--stage=all", *settings, "--workdir=one"], directory))
    assert_same_training(directory / "two", directory / "one", "finetune")
    # Cached maps are float16: a rounding error in a weight of the trunk may change one to the next number.
    assert_same_training(directory / "two", directory / "one", "visual", 1e-3 if maps_cache_gib else 1e-4)
    again = finish(*(start(shared, directory, config) for config in cluster(2)))
    assert "visual: finished earlier" in again[0] and "done" in again[1]


@pytest.mark.slow
def test_two_devices_train_as_one_device(directory):
    settings = ["--stage=visual", *SETTINGS]
    finish(start([*settings, "--distribute=mirrored", "--workdir=two"], directory, devices=2))
    finish(start([*settings, "--workdir=one"], directory))
    for stage in ("finetune", "visual"):
        assert_same_training(directory / "two", directory / "one", stage)


@pytest.mark.slow
def test_a_single_replica_takes_the_steps_of_train_on_batch(make_run):
    """Runs in this process: the step, its batch normalisation, weight decay and the updated weights."""
    alone, mirrored = (make_run(name, **SMALL_STEPS) for name in ("alone", "mirrored"))
    stages.train(alone, "finetune")
    stages.train(mirrored, "finetune", distribution=Distribution("mirrored", mirrored.config))
    assert_same_training(mirrored.workdir, alone.workdir, "finetune")


@pytest.mark.parametrize(
    "tf_config",
    [
        None,
        "not json",
        "{}",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_a_wrong_tf_config_is_refused(tf_config, monkeypatch, make_run):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if tf_config is not None:
        monkeypatch.setenv("TF_CONFIG", tf_config)
    with pytest.raises(UserError, match="expects the environment variable TF_CONFIG on every worker"):
        Distribution("multi_worker", make_run().config)


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch, make_run):
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster(3)[1]))
    with pytest.raises(UserError, match="3 replicas cannot share a batch of 16 images equally"):
        Distribution("multi_worker", make_run().config)
    with pytest.raises(UserError, match="float32 or bfloat16"):
        Distribution("mirrored", make_run(precision="float16").config)

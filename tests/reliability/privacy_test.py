"""Privacy: no command connects to another host or writes outside the folders that it is given.

Each command and its child processes run with a Python audit hook and a separate home directory. Files that
libraries write outside Python are found in that directory.
"""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from msmm.training import table_predictions
from tests.architecture_test import IS_COMMAND
from tests.conftest import ROOT, STOPPABLE, TINY
from tests.experiments.starter import starter_model_test
from tests.msmm.conftest import model_directory, picture  # noqa: F401 - a fixture
from tests.msmm.photos.page_test import free_port
from tests.presets import write_preset

SETTINGS = [f"--{name}={value}" for name, value in TINY.items()]
LOCAL = ("127.", "::1", "localhost", "/", "b'/", "\\x00")  # prefixes of local addresses
SYSTEM = ("/dev/", "/proc/")
SMALL_BENCHMARK = ["--repeats=1"]
STARTER = [f"--{name}={value}" for name, value in starter_model_test.SETTINGS.items()]
SWEEP = [setting for setting in SETTINGS if not setting.startswith("--textual")]  # for the other stages

# Command -> the arguments of its runs, each at its smallest.
RUNS: dict[str, list[list[str]]] = {
    "msmm.train": [["--stage=all", *SETTINGS], ["--method=tag_neighbour", *SETTINGS]],
    "msmm.evaluate": [SETTINGS, ["--engine=auto", "--csv=out.csv", "--sheet=out.png", *SETTINGS]],
    "msmm.describe": [["--dataset=scenes"], ["--dataset=nus_wide", "--json"]],
    "msmm.annotate": [
        ["photos", "--model=model"],
        ["photos", "--model=model", "--engine=keras", "--format=json", "--output=out.jsonl"],
        ["photos", "--model=model", "--engine=onnxruntime", "--format=csv"],
        ["photos", "--model=model", "--format=xmp"],
        ["photos", "--model=model", "--format=html", "--output=gallery"],
    ],
    "msmm.annotate_beam": [["--help"]],  # Beam: see `test_beam_pipelines_connect_to_localhost_only`
    "msmm.export": [
        ["--model=model", f"--format={name}", f"--output=exported_{name}", "--check_images=4"]
        for name in ("saved_model", "onnx", "openvino", "litert")
    ],
    "msmm.doctor": [["--model=model", "--photos=photos"], []],
    "msmm.app": [["--help"]],  # the page: see `test_web_page_makes_no_outside_connection`
    "tfrecords_tools.pack": [["--dataset=scenes", "--data_dir=packed", "--num_train=20", "--num_test=10",
                              "--image_size=32", "--workers=2"],
                             ["--dataset=manifest", "--manifest=photos.csv", "--name=mine",
                              "--data_dir=packed"]],
    "tfrecords_tools.inspect": [["--dataset=scenes", "--contact_sheet=sheet.png"]],
    **{f"experiments.reproduce_table{n}": [["--dataset=scenes", *SETTINGS]] for n in range(1, 7)},
    "experiments.reproduce_all": [SETTINGS],
    "experiments.figure5": [["--dataset=scenes"]],
    "experiments.figure6": [["--num_images=1", *SETTINGS]],
    "experiments.timing": [SETTINGS],
    "experiments.quantity": [SETTINGS],
    "experiments.ablation": [["--of=k", *SETTINGS]],
    "experiments.results_pages": [["--pages=page.md"]],
    "experiments.review_curve": [["--labelled=20", "--corrections=10", "--draws=1", *SETTINGS]],
    "experiments.image_sizes": [["--sizes=32"]],
    "experiments.modern_table": [
        [*(f"--{name}_epochs=1" for name in ("csra", "ml_decoder", "query2label")), *SETTINGS]
    ],
    "experiments.draw_nus_wide": [["--rows=200", "--folder=nus_wide"]],
    "experiments.rehearsal": [["--rows=200", "--folder=rehearsal", "--steps=tree,pack"]],
    "experiments.sweep": [["--of=textual", "--learning_rate=0.01,0.1", *SWEEP]],
    "experiments.joint": [["--joint_epochs=1", *SETTINGS]],
    "experiments.package_trunk": [["--dataset=scenes", "--output=trunk.npz", *SETTINGS]],
    "experiments.starter_model": [["--raw_dir=coco", "--output=starter", "--least_photographs=10", *STARTER]],
    "experiments.starter_words": [["--help"]],  # a table of a run of starter_model
    "experiments.library_rehearsal": [["--help"]],  # pack, train and annotate in processes of their own
    "experiments.decoding_speed": [["--num_images=8", "--num_classes=5", "--feature_size=8"]],
    "experiments.benchmark_packing": [["--num_images=100", "--resize=32", *SMALL_BENCHMARK]],
    "experiments.benchmark_annotate": [["--small=3", "--large=1", "--repeats=1"]],
    "experiments.benchmark_inference": [["--model=model", "--nopeers", "--batches=1", *SMALL_BENCHMARK]],
    "experiments.benchmark_training": [["--backbone=resnet-1-1-1-1-w4", "--image_size=32", "--batch_size=2",
                                        "--steps=1", "--pytorch=eager", *SMALL_BENCHMARK]],
    "experiments.benchmark_input": [["--image_size=32", "--seconds=0.01", *SMALL_BENCHMARK]],
    "experiments.benchmark_scaling": [["--images=200", "--classes=5", "--tags=10", "--feature_size=32",
                                       "--of=textual"]],
}  # fmt: skip
# A GPU, or backends that are not installed here.
NEEDS_MORE = {"experiments.benchmark_gpu"}
QUICK = ("msmm.annotate", "tfrecords_tools.inspect")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, data_dir, model_directory, trained_run):  # noqa: F811
    """A folder with photographs, a manifest, a model, packed data and a trained run."""
    folder = tmp_path_factory.mktemp("inputs") / "work"
    (folder / "photos").mkdir(parents=True)
    for number in range(3):
        picture().save(folder / f"photos/{number}.jpg")
    rows = "".join(f"photos/{n}.jpg,{label},beach,{split}\n" for n, label, split in
                   ((0, "sky", "train"), (1, "sky", "train"), (2, "sky", "test")))  # fmt: skip
    (folder / "photos.csv").write_text(f"image,labels,tags,split\n{rows}")
    (folder / "page.md").write_text("no results in it\n")
    starter_model_test.draw_layout(folder / "coco")
    shutil.copytree(model_directory, folder / "model")
    shutil.copytree(data_dir, folder / "data")
    table_predictions.save_model(trained_run)
    shutil.copytree(trained_run.workdir, folder / "runs/scenes")
    (folder / "runs/scenes/report.md").write_text("# Report\n\n## A table\n\n| a |\n| --- |\n")
    (folder / "page.md").write_text("<!-- results: scenes/report.md | A table -->\n<!-- end of results -->\n")
    return folder


class AuditedCommands:
    """Runs commands with the audit hook in a copy of a folder, with a separate home directory."""

    def __init__(self, tmp_path, inputs):
        self.work, self.home, self.log = tmp_path / "work", tmp_path / "home", tmp_path / "log"
        self.hook, self.scratch = tmp_path / "hook", tmp_path / "tmp"
        shutil.copytree(inputs, self.work)
        for folder in (self.home, self.hook, self.scratch):
            folder.mkdir()
        shutil.copy(ROOT / "tests/reliability/audit_hook.py", self.hook / "sitecustomize.py")

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(self.hook), str(ROOT)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(self.home),
            "TMPDIR": str(self.scratch),
            "AUDIT_LOG": str(self.log),
            **more,
        }

    def run(self, command: str, *arguments: str, timeout: int = 900) -> subprocess.CompletedProcess:
        line = [sys.executable, "-m", command, *arguments]
        result = subprocess.run(
            line, cwd=self.work, env=self.environment(), capture_output=True, text=True, timeout=timeout
        )
        assert result.returncode == 0, result.stderr
        self.check()
        return result

    def check(self) -> None:
        """Checks that nothing was sent and nothing was written outside the allowed folders."""
        records = [json.loads(line) for line in self.log.read_text().splitlines()]
        allowed = (str(self.work), str(self.scratch), *SYSTEM)
        for event, value, _ in records:
            if event.startswith(("socket", "urllib")):
                assert _is_local(value), (event, value)
            else:
                for path in value if isinstance(value, list) else [value]:
                    assert path.startswith(allowed), (event, path)
        assert list(self.home.rglob("*")) == []


def _is_local(address: str) -> bool:
    return address.lstrip("(['\"").startswith(LOCAL) or address in ("None", "0.0.0.0")


@pytest.fixture
def audited(tmp_path, inputs):
    return AuditedCommands(tmp_path, inputs)


def test_every_command_is_covered_by_the_audit():
    assert set(RUNS) | NEEDS_MORE == IS_COMMAND


@pytest.mark.parametrize(
    "command", [pytest.param(c, marks=[] if c in QUICK else [pytest.mark.slow]) for c in sorted(RUNS)]
)
def test_command_makes_no_outside_connection_and_writes_only_in_its_folders(command, audited):
    for arguments in RUNS[command][: 1 if command in QUICK else None]:
        audited.run(command, *arguments)


def test_audit_hook_records_connections_and_files_of_a_process_and_its_children(audited):
    code = """
import pathlib, subprocess, sys
pathlib.Path.home().joinpath("x").write_text("x")
pathlib.Path.home().joinpath("x").unlink()
connecting = "import socket; s = socket.socket(); s.setblocking(False); s.connect_ex(('203.0.113.1', 9))"
subprocess.run([sys.executable, "-c", connecting])
"""
    subprocess.run([sys.executable, "-c", code], env=audited.environment(), cwd=audited.work, timeout=60)
    events = [json.loads(line) for line in audited.log.read_text().splitlines()]
    assert ["open", str(audited.home / "x")] in [event[:2] for event in events]
    assert any(name == "socket.connect" and "203.0.113.1" in value for name, value, _ in events)
    assert len({process for *_, process in events}) == 2
    with pytest.raises(AssertionError):
        audited.check()


@pytest.mark.slow
def test_web_page_makes_no_outside_connection(audited):
    client = pytest.importorskip("gradio_client", reason="gradio is missing: pip install 'msmm[app-test]'")
    port = free_port()
    command = [sys.executable, "-m", "msmm.app", "--model=model", "--examples=photos", f"--port={port}"]
    serving = subprocess.Popen(
        command,
        cwd=audited.work,
        env=audited.environment(),
        stdout=subprocess.PIPE,
        text=True,
        **STOPPABLE,
    )
    try:
        assert f":{port}" in serving.stdout.readline()
        page = client.Client(f"http://127.0.0.1:{port}", verbose=False, analytics_enabled=False)
        photo = client.handle_file(str(audited.work / "photos/0.jpg"))
        assert "red" in str(page.predict(photo, "beach", api_name="/annotate"))
    finally:
        serving.send_signal(signal.SIGINT)
        serving.communicate(timeout=60)
    audited.check()


@pytest.mark.slow
def test_review_makes_no_outside_connection_and_writes_only_in_the_folder(audited):
    port = free_port()
    command = [sys.executable, "-m", "msmm.app", "--model=model", "--photos=photos", f"--port={port}"]
    before = sorted(audited.work.rglob("*"))
    serving = subprocess.Popen(
        command,
        cwd=audited.work,
        env=audited.environment(),
        stdout=subprocess.PIPE,
        text=True,
        **STOPPABLE,
    )
    try:
        token = serving.stdout.readline().split()[0].partition("token=")[2]
        content = json.dumps({"index": 0, "keywords": ["sea"], "rejected": []})
        deadline, status = time.monotonic() + 60, 0
        while status != 200 and time.monotonic() < deadline:  # until its keywords are computed
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            headers = {"X-Token": token, "Content-Type": "application/json"}
            connection.request("POST", "/api/decide", content, headers)
            status = connection.getresponse().status
            time.sleep(0.1)
        assert status == 200
    finally:
        serving.send_signal(signal.SIGINT)
        serving.communicate(timeout=60)
    audited.check()
    new = {str(path.relative_to(audited.work)) for path in set(audited.work.rglob("*")) - set(before)}
    new = {name for name in new if not name.startswith("model/engines")}
    assert new == {"photos/msmm_review.jsonl", "photos/0.jpg.xmp"}


@pytest.mark.slow
def test_beam_pipelines_connect_to_localhost_only(audited):
    pytest.importorskip("apache_beam", reason="Beam is missing: pip install 'msmm[beam]'")
    processes = "--beam_options=direct_num_workers=2,direct_running_mode=multi_processing"
    for number, (options, engine) in enumerate([([], "auto"), ([processes], "keras")]):
        pack = [*RUNS["tfrecords_tools.pack"][0], f"--data_dir=packed{number}"]
        audited.run("tfrecords_tools.pack", *pack, "--runner=DirectRunner", *options)
        annotate = ["photos", "--model=model", f"--engine={engine}", f"--output=out{number}"]
        audited.run("msmm.annotate_beam", *annotate, "--runner=DirectRunner", *options)


@pytest.mark.slow
def test_presets_of_kerashub_make_no_outside_connection(audited):
    write_preset(audited.work / "preset", "dinov2", side=32, patch=16)
    network = [*SETTINGS, "--backbone=keras_hub:preset", "--weights=imagenet"]
    audited.run("msmm.describe", "--dataset=scenes", "--backbone=keras_hub:preset", "--image_size=32")
    audited.run("msmm.train", "--stage=all", "--workdir=runs/hub", *network)
    audited.run("msmm.annotate", "photos", "--model=runs/hub/seed0/model", "--engine=keras")


@pytest.mark.slow
def test_python_library_makes_no_outside_connection(audited):
    code = """
import msmm
for engine in ("keras", "onnxruntime", "openvino"):
    assert msmm.load("model", engine).annotate(["photos/0.jpg"])[0].labels == ("red",)
network = msmm.build_annotator(3, 4, "resnet-1-1-1-1-w4", 32)
"""
    line = [sys.executable, "-c", code]
    # Keras writes its settings, and matplotlib, which Keras imports where it can, its list of fonts.
    own = dict.fromkeys(("KERAS_HOME", "MPLCONFIGDIR"), str(audited.scratch))
    environment = audited.environment(**own)
    result = subprocess.run(line, cwd=audited.work, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    audited.check()

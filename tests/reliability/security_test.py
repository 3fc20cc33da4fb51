"""Security: files that are read cannot run code, name paths outside their folder or inject markup."""

import ast
import json
import shutil
import zipfile

import keras
import pytest
from PIL import Image

from msmm.core.errors import UserError
from msmm.data import records
from msmm.inference import model_dir
from msmm.models import backbone
from tests.architecture_test import FILES
from tests.conftest import ROOT
from tests.msmm.conftest import model_directory  # noqa: F401
from tfrecords_tools.datasets import manifest
from tfrecords_tools.packing import builder
from tfrecords_tools.raw import raw_files

FORBIDDEN = ("eval", "exec", "pickle.load", "pickle.loads", "marshal.loads", "yaml.load", "os.system",
             "keras.config.enable_unsafe_deserialization", "shutil.unpack_archive")  # fmt: skip
# Pickles between the processes of one packer, through pipes and in a private temporary folder.
PIPES = {
    "msmm/core/workers.py": {"pickle.load"},
    "tfrecords_tools/packing/beam_pipeline.py": {"pickle.loads"},
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_calls_no_function_that_runs_code_from_files(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = {ast.unparse(call.func): {k.arg: ast.unparse(k.value) for k in call.keywords} for call in calls}
    allowed = PIPES.get(str(path.relative_to(ROOT)), set())
    assert named.keys() & set(FORBIDDEN) <= allowed
    assert not [name for name in named if name.endswith((".extractall", ".extract"))]
    for name, keywords in named.items():
        if name in ("np.load", "numpy.load"):
            assert keywords.get("allow_pickle") == "False"
        assert keywords.get("safe_mode") != "False" and keywords.get("shell") != "True"


@keras.saving.register_keras_serializable("hostile")
class Custom(keras.layers.Layer):
    """A layer of a user's own module: a file that needs it is refused, because loading would run its code."""

    def call(self, x):
        return x


def write_hostile_model(kind, path, secret):
    """Writes a saved model that would run code or read another file if Keras allowed it."""
    image = keras.Input((32, 32, 3), name="image")
    if kind == "lambda":
        keras.Model(image, keras.layers.Lambda(lambda x: x)(image)).save(path)
        return
    keras.Model(image, Custom(name="custom")(image)).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    layer = next(item for item in config["config"]["layers"] if item["name"] == "custom")
    layer |= {
        "custom": {"class_name": "Missing", "registered_name": "elsewhere>Missing", "module": "elsewhere"},
        "function": {"class_name": "getoutput", "module": "subprocess", "registered_name": "getoutput",
                     "config": f"touch {secret}.ran"},
        "vocabulary": {"class_name": "StringLookup", "module": "keras.layers", "registered_name": None,
                       "config": {"name": "custom", "vocabulary": str(secret)}},
        "saved model": {"class_name": "TFSMLayer", "module": "keras.layers", "registered_name": None,
                        "config": {"name": "custom", "filepath": str(secret.parent),
                                   "call_endpoint": "serving_default"}},
    }[kind]  # fmt: skip
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as changed:
        for name, data in members.items():
            changed.writestr(name, data)


@pytest.mark.parametrize("kind", ["lambda", "custom", "function", "vocabulary", "saved model"])
def test_saved_model_that_would_run_code_is_refused(kind, model_directory, tmp_path):  # noqa: F811
    secret = tmp_path / "secret.txt"
    secret.write_text("one\ntwo\n")
    write_hostile_model(kind, tmp_path / "trunk.keras", secret)
    with pytest.raises(UserError, match=r"cannot read .*trunk\.keras as a saved Keras model") as refused:
        backbone.build(str(tmp_path / "trunk.keras"), image_size=32)
    print(str(refused.value)[:400])
    shutil.copytree(model_directory, tmp_path / "model")
    (tmp_path / "model/SHA256SUMS").unlink()
    shutil.copy(tmp_path / "trunk.keras", tmp_path / "model/model.keras")
    with pytest.raises(UserError, match=r"cannot read .*model\.keras"):
        model_dir.load(tmp_path / "model")
    assert not list(tmp_path.glob("*.ran"))


def test_paths_in_official_lists_cannot_leave_the_raw_directory(tmp_path):
    """A COCO file_name and a line of an image list are untrusted; archives are never unpacked."""
    (tmp_path / "raw/train2017").mkdir(parents=True)
    for path in ("secret.jpg", "raw/secret.jpg", "raw/train2017/a.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / path)
    with zipfile.ZipFile(tmp_path / "raw/more.zip", "w") as archive:
        archive.writestr("../../secret.jpg", b"of the archive")
        archive.writestr("/etc/b.jpg", b"b")
        archive.writestr("large.jpg", b"l")
    data = (tmp_path / "raw/more.zip").read_bytes()
    at = data.rindex(b"PK\x01\x02")  # the central directory entry of large.jpg gets a false size
    data = data[: at + 24] + b"\xff\xff\xff\x7f" + data[at + 28 :]
    (tmp_path / "raw/more.zip").write_bytes(data)
    files = raw_files.RawFiles(tmp_path / "raw", ("train2017",))
    assert files.image("train2017/a.jpg") == tmp_path / "raw/train2017/a.jpg"
    for path in (
        "../secret.jpg",
        "train2017/../../secret.jpg",
        str(tmp_path / "secret.jpg"),
        "x/..",
        "..",
        "",
    ):
        image = files.image(path)
        inside = image == b"of the archive" or image.resolve().is_relative_to(tmp_path / "raw")
        assert inside or not image.exists(), path
    assert files.image("b.jpg") == b"b" and files.image("large.jpg") == b""
    assert sorted(path.name for path in tmp_path.rglob("*.jpg")) == ["a.jpg", "secret.jpg", "secret.jpg"]


def test_manifest_entries_that_are_not_images_are_not_packed(tmp_path):
    """A manifest may name any image that its user can read, but no other file."""
    (tmp_path / "secret.txt").write_text("the secret")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "elsewhere.jpg")
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "far.jpg")
    (tmp_path / "other.txt").write_text("the secret")
    (tmp_path / "photos/link.jpg").symlink_to(tmp_path / "other.txt")
    names = ["../elsewhere.jpg", str(tmp_path / "far.jpg"), "../secret.txt", "link.jpg"]
    rows = [{"image": name, "labels": ["a"], "split": "train"} for name in names]
    (tmp_path / "photos/list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = {"manifest": tmp_path / "photos/list.jsonl", "max_skipped": 1.0, "workers": 1}
    builder.pack(manifest.Manifest, "mine", tmp_path / "data", **arguments)
    dataset = records.open_dataset(tmp_path / "data", "mine")
    assert set(dataset.annotations("train")[0]) == set(names[:2])
    for path in (tmp_path / "data").rglob("*"):
        assert not path.is_file() or b"the secret" not in path.read_bytes()


def test_packed_data_set_that_names_files_outside_its_folder_is_refused(data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path / "data")
    path = tmp_path / "data/scenes/1.0.0/dataset_info.json"
    (path.parent / "SHA256SUMS").unlink()
    (tmp_path / "data/elsewhere").mkdir()
    info = json.loads(path.read_text())
    for split in info["splits"]:
        split["filepathTemplate"] = "../../elsewhere/{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    path.write_text(json.dumps(info))
    with pytest.raises(UserError, match=r"dataset_info\.json"):
        records.open_dataset(tmp_path / "data", "scenes")


def test_sha256sums_that_name_files_outside_their_folder_are_refused(model_directory, tmp_path):  # noqa: F811
    shutil.copytree(model_directory, tmp_path / "model")
    with open(tmp_path / "model/SHA256SUMS", "a") as sums:
        sums.write(f"{'0' * 64}  ../../secret\n")
    with pytest.raises(UserError, match="SHA256SUMS is damaged"):
        model_dir.load(tmp_path / "model")


HOSTILE = ("=1+1", "@SUM(1)", "+1", "-1", '=HYPERLINK("http://x")', "<script>alert(1)</script>", "a\x1b[2Jb")


def test_hostile_names_are_not_formulas_in_csv_output(tmp_path):
    """The test also covers spreadsheets that separate cells at semicolons."""
    from msmm.photos import annotation_lines, outputs

    photo = annotation_lines.Annotated(
        "=a;=b.jpg", HOSTILE, dict.fromkeys(HOSTILE, 0.5), 1.0, HOSTILE, HOSTILE
    )
    line = annotation_lines.csv_line(photo, "model")
    for cell in line.replace('"', "").replace(",", ";").split(";"):
        assert not cell.startswith(("=", "+", "@")), cell
    with outputs.File(
        str(tmp_path / "annotations.csv"), annotation_lines.CSV, "model", overwrite=False
    ) as file:
        file.write(photo)
    assert outputs.File(
        str(tmp_path / "annotations.csv"), annotation_lines.CSV, "model", overwrite=False
    ).find_annotator("=a;=b.jpg")

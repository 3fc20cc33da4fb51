"""The command `annotate` in its own process, and its files as read by exiftool and exiv2."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from msmm.photos import xmp
from tests.msmm.conftest import picture
from tests.msmm.core.command_line_test import process, refused
from tests.msmm.photos.metadata_test import bag, packet

TOOLS = {name: shutil.which(name) for name in ("exiftool", "exiv2")}


def requires(name):
    return pytest.mark.skipif(not TOOLS[name], reason=f"{name} is not installed (Debian has it)")


def run_annotate(*arguments, cwd, **more):
    command = [sys.executable, "-m", "msmm.annotate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=300, **process(cwd), **more)


def run_tool(name, *arguments) -> str:
    command = [TOOLS[name], *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a PATH"),
        (["photos", "--model=m"], "no such file or folder: 'photos'"),
        (["*.jpg", "--model=m"], "no such file or folder: '*.jpg'"),
        ([".", "--model=m"], "no photographs in '.'"),
        ([".", "--model=m", "--format=html"], "expected --output=FOLDER"),
        ([".", "--model=m", "--output=x"], "--format=text writes to standard output"),
        ([".", "--model=m", "--format=xmp", "--output=x"], "--format=xmp writes beside each photograph"),
        ([".", "--model=m", "--format=pdf"], "pdf"),
        ([".", "--model=m", "--k=0"], "k"),
        ([".", "--model=m", "--exclude="], "expected a glob in --exclude"),
        ([".", "--model=m", "--threshold=2"], "threshold"),
        ([".", "--model=m", "--workers=0"], "--workers of 1 or more"),
        ([".", "--model=m", "--hierarchy=msmm"], "--hierarchy is for --format=xmp"),
        ([".", "--format=xmp", "--hierarchy=auto||msmm"], "expected --hierarchy as msmm or auto|msmm"),
        ([".", "--remove", "--model=m"], "--remove only clears sidecars: leave --model out"),
        ([".", "--remove", "--format=json"], "leave --format out"),
        ([".", "--remove"], "no photographs in '.'"),
    ],
)
def test_a_user_error_is_one_line(arguments, message, tmp_path):
    assert message in refused(run_annotate(*arguments, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_annotate_prints_text_json_and_csv(tmp_path, photo, model_directory):
    photo("red.png"), photo("blue.png", picture("blue"))
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    result = run_annotate(".", f"--model={model_directory}", "--tags=Beaches;Rex", cwd=tmp_path)
    assert result.returncode == 1 and "Traceback" not in result.stderr, result.stderr
    assert result.stdout.splitlines() == [
        "./blue.png: seaside (1.00), blue (1.00)",
        "./red.png: seaside (1.00), red (1.00)",
    ]
    assert "skipped ./broken.jpg: not an image of a known format" in result.stderr
    assert "2 photographs annotated; 1 skipped (not an image of a known format: 1)" in result.stderr
    assert "keywords that the model does not know: Rex (2)" in result.stderr
    listed = run_annotate(
        "-", f"--model={model_directory}", "--format=json", cwd=tmp_path, input="red.png\nblue.png\n"
    )
    assert [json.loads(line)["labels"] for line in listed.stdout.splitlines()] == [["red"], ["blue"]]
    assert listed.returncode == 0
    table = run_annotate("red.png", f"--model={model_directory}", "--format=csv", cwd=tmp_path)
    assert table.stdout.splitlines()[0].startswith("path,labels,") and "red.png,red,1.0000," in table.stdout
    assert sorted(os.listdir(tmp_path)) == ["blue.png", "broken.jpg", "red.png"]


def test_left_out_files_and_unread_keywords_are_reported(tmp_path, photo, model_directory):
    for name in ("red.png", "@eaDir/red.png", "red.png~", ".hidden.png", "small/red.png"):
        photo(f"photos/{name}", format="PNG")
    (tmp_path / "photos/blue.heic").write_bytes(photo("x.jpg", picture("blue"), xmp=b"<broken").read_bytes())
    before = {path: path.read_bytes() for path in (tmp_path / "photos").rglob("*") if path.is_file()}
    more = ("--exclude=small/", "--exclude=*.gif")
    result = run_annotate("photos", f"--model={model_directory}", *more, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["photos/blue.heic: blue (1.00)", "photos/red.png: red (1.00)"]
    assert result.stderr.splitlines() == [
        "keywords of photos/blue.heic not read: broken XMP",
        "left out: backup copies: 1, by --exclude: 1, folders of Synology: 1, hidden files: 1; "
        "--exclude=*.gif matches nothing",
        "2 photographs annotated",
        "keywords not read in 1 places (broken XMP: 1)",
    ]
    nothing = refused(run_annotate("photos", f"--model={model_directory}", "--exclude=*", cwd=tmp_path))
    assert "no photographs in 'photos' (left out: by --exclude: 1)" in nothing
    after = {path: path.read_bytes() for path in (tmp_path / "photos").rglob("*") if path.is_file()}
    assert after == before


ONE_PROCESS = """
import sys
from absl import flags
from absl.testing import flagsaver
from msmm import annotate
for line in sys.stdin.read().splitlines():
    with flagsaver.flagsaver():
        annotate.main(flags.FLAGS(["annotate", "--workers=1", *line.split()])[1:])
    print("---", file=sys.stderr)
"""


def test_photographs_annotated_by_another_model_or_rule_are_reported(tmp_path, photo, model_directory):
    photo("red.png")
    first, other = model_directory, shutil.copytree(model_directory, tmp_path / "other")
    (other / "SHA256SUMS").unlink()
    info = (other / "model.json").read_text().replace('"seed": 0', '"seed": 1')
    (other / "model.json").write_text(info)
    new, known = "1 photographs annotated", "0 photographs annotated; 1 done before"
    redo_message = "1 of those done before are another {}: --overwrite annotates them again"
    runs = [
        (first, "", [new]),
        (first, "", [known]),
        (other, "", [known, redo_message.format("model's")]),
        (first, "--quantity=top_k --k=2", [known, redo_message.format("counting rule's")]),
        (other, "--quantity=top_k --k=2 --overwrite", [new]),
        (other, "--quantity=top_k --k=2", [known]),
        (other, "--quantity=top_k", [known, redo_message.format("counting rule's")]),
        (other, "--quantity=threshold --threshold=0.5", [known, redo_message.format("counting rule's")]),
        (other, "", [known, redo_message.format("counting rule's")]),
        (first, "--quantity=top_k --k=2", [known, redo_message.format("model's")]),
    ]
    formats = ("json --output=a.jsonl", "csv --output=a.csv", "html --output=gallery", "xmp")
    all_runs = [(to, *run) for to in formats for run in (runs if "json" in to else runs[:5])]
    lines = [f"red.png --model={model} --format={to} {more}" for to, model, more, _ in all_runs]
    command = [sys.executable, "-c", ONE_PROCESS]
    result = subprocess.run(
        command, input="\n".join(lines), capture_output=True, timeout=300, **process(tmp_path)
    )
    assert result.returncode == 0, result.stderr
    outputs = [
        [line for line in part.splitlines() if "photographs" in line or "another" in line]
        for part in result.stderr.split("---\n")[:-1]
    ]
    assert [(*run[:3], s) for run, s in zip(all_runs, outputs, strict=True)] == all_runs
    assert json.loads((tmp_path / "a.jsonl").read_text())["model"].startswith("made by hand ")
    assert (tmp_path / "a.csv").read_text().rstrip().endswith(" top_k=2")


def test_a_killed_run_resumes_without_repeating_photographs(tmp_path, model_directory):
    """Killed when some lines are on disk: afterwards no photograph is annotated twice or missing."""
    (tmp_path / "photos").mkdir()
    for i in range(600):
        picture(("red", "blue")[i % 2], (400, 300)).save(tmp_path / "photos" / f"{i:04d}.jpg")
    arguments = ("photos", f"--model={model_directory}", "--format=json", "--output=out.jsonl")
    command = [sys.executable, "-m", "msmm.annotate", *arguments]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, **process(tmp_path))
    partial = tmp_path / "out.jsonl.partial"
    while not partial.exists() or not partial.stat().st_size:
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert not (tmp_path / "out.jsonl").exists()
    done = partial.read_bytes().count(b"\n")
    assert 0 < done < 600
    result = run_annotate(*arguments, cwd=tmp_path)
    assert f"{600 - done} photographs annotated; {done} done before" in result.stderr, result.stderr
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == [f"photos/{i:04d}.jpg" for i in range(600)]
    assert [row["labels"] for row in rows] == [["red"], ["blue"]] * 300
    assert sorted(os.listdir(tmp_path)) == ["out.jsonl", "photos"]


@pytest.fixture
def library(tmp_path, photo):
    """A folder of photographs with keywords written by exiftool."""
    for name in ("iptc.jpg", "xmp.png", "both.jpg", "beside.jpg", "bare.jpg"):
        photo(f"photos/{name}", picture("blue"))
    folder = tmp_path / "photos"
    run_tool("exiftool", "-q", "-overwrite_original", "-IPTC:Keywords=Beaches",
             "-IPTC:Keywords=Käse & <Brot>", "-codedcharacterset=utf8", folder / "iptc.jpg")  # fmt: skip
    run_tool("exiftool", "-q", "-overwrite_original", "-XMP-dc:Subject=beach", folder / "xmp.png")
    run_tool("exiftool", "-q", "-overwrite_original", "-IPTC:Keywords=rex", "-XMP-dc:Subject=Golden Gate",
             "-XMP-dc:Subject=Rex", folder / "both.jpg")  # fmt: skip
    run_tool("exiftool", "-q", "-XMP-dc:Subject=Holiday", "-XMP-dc:Title=A <b> & c", "-XMP-xmp:Rating=4",
             "-XMP-digiKam:TagsList=Places/Rome", folder / "beside.xmp")  # fmt: skip
    return folder


def read_with_exiftool(path, *tags) -> dict:
    (outputs,) = json.loads(run_tool("exiftool", "-json", "-struct", *tags, path))
    return outputs


@requires("exiftool")
def test_sidecars_are_readable_by_exiftool_and_exiv2_and_their_keywords_become_tags(
    library, model_directory, annotate
):
    before = {p.name: p.read_bytes() for p in library.iterdir()}
    old_properties = read_with_exiftool(library / "beside.xmp", "-XMP:all")
    outputs = {os.path.basename(path): photo for path, photo in annotate(library)[0].items()}
    assert {name: photo.tags for name, photo in outputs.items()} == {
        "iptc.jpg": ["beach"], "xmp.png": ["beach"], "both.jpg": ["goldengate"], "beside.jpg": ["holidays"],
        "bare.jpg": [],
    }  # fmt: skip
    assert outputs["iptc.jpg"].unknown == ["Käse & <Brot>"] and outputs["both.jpg"].unknown == ["rex", "Rex"]

    written = run_annotate(library, f"--model={model_directory}", "--format=xmp", cwd=library.parent)
    assert written.returncode == 0, written.stderr
    subjects = {
        "iptc.jpg.xmp": ["Beaches", "Käse & <Brot>", "seaside", "blue"],
        "xmp.png.xmp": ["beach", "seaside", "blue"],
        "both.jpg.xmp": ["rex", "Golden Gate", "Rex", "blue"],
        "beside.xmp": ["Holiday", "blue"],
        "bare.jpg.xmp": ["blue"],
    }
    for name, expected in subjects.items():
        assert read_with_exiftool(library / name, "-XMP-dc:Subject")["Subject"] == expected
        if TOOLS["exiv2"]:
            outputs = run_tool("exiv2", "-g", "Xmp.dc.subject", "-Pv", library / name).strip()
            assert outputs == ", ".join(expected)
    new_properties = read_with_exiftool(library / "beside.xmp", "-XMP:all")
    assert new_properties.pop("Added") == ["blue"] and new_properties.pop("Model")[0].startswith(
        "made by hand "
    )
    assert {**new_properties, "Subject": ["Holiday"]} == old_properties
    after = {p.name: p.read_bytes() for p in library.iterdir()}
    assert after.keys() == before.keys() | subjects.keys()
    assert {name: after[name] for name in before if name != "beside.xmp"} == {
        name: content for name, content in before.items() if name != "beside.xmp"
    }


@requires("exiftool")
@requires("exiv2")
@pytest.mark.parametrize("editor", TOOLS)
def test_a_sidecar_edited_by_another_program_is_still_read(library, annotate, editor):
    """Other programs rewrite the whole packet; the added labels are still recognised."""
    from msmm.photos.outputs import Sidecars
    from msmm.photos.sidecars import read_sidecars

    annotate(library / "both.jpg", output=Sidecars("model 1"), words=["beach"])
    sidecar = library / "both.jpg.xmp"
    if editor == "exiv2":
        run_tool("exiv2", "-M", "set Xmp.xmp.Rating 5", "-M", "set Xmp.dc.subject Ana", sidecar)
    else:
        run_tool("exiftool", "-q", "-overwrite_original", "-XMP:Rating=5", "-XMP-dc:Subject+=Ana", sidecar)
    keywords, added = read_sidecars(str(library / "both.jpg"))
    assert "Ana" in keywords.words and added == ["seaside", "blue"]
    _, summary = annotate(library / "both.jpg", output=Sidecars("model 1"))
    assert summary.done_before == {"model 1": 1}
    annotate(library / "both.jpg", output=Sidecars("model 2"), overwrite=True)
    new_properties = read_with_exiftool(sidecar, "-XMP:all")
    assert (
        new_properties["Subject"] == ["rex", "Golden Gate", "Rex", "blue", "Ana"]
        and new_properties["Rating"] == 5
    )
    assert (new_properties["Added"], new_properties["Model"]) == (["blue"], ["model 2"])


def test_keywords_below_a_parent_are_written_and_removed_again(tmp_path, photo, model_directory):
    photo("red.png"), photo("blue.png", picture("blue"))
    (tmp_path / "blue.png.xmp").write_bytes(packet(bag("dc:subject", "Rome", "Blue")))
    (tmp_path / "broken.jpg.xmp").write_bytes(packet(bag("dc:subject", "x")))
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    arguments = (f"--model={model_directory}", "--format=xmp", "--hierarchy=auto | msmm", "--tags=beach")
    written = run_annotate(".", *arguments, cwd=tmp_path)
    assert written.returncode == 1 and "2 photographs annotated" in written.stderr
    read = {name: xmp.parse((tmp_path / f"{name}.xmp").read_bytes()) for name in ("red.png", "blue.png")}
    assert read["red.png"].subjects == ["seaside", "red"]
    assert read["red.png"].texts(xmp.LR_SUBJECT) == ["auto|msmm|seaside", "auto|msmm|red"]
    assert read["blue.png"].subjects == ["Rome", "Blue", "seaside"]
    assert read["blue.png"].texts(xmp.LR_SUBJECT) == ["Rome", "Blue", "auto|msmm|seaside"]
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    shown = run_annotate(".", "--remove", "--dry_run", cwd=tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == after
    assert "3 keywords would be removed from the sidecars of 2 photographs" in shown.stderr
    removed = run_annotate(".", "--remove", cwd=tmp_path)
    assert removed.returncode == 0, removed.stderr
    assert removed.stdout.splitlines() == ["./blue.png: seaside", "./red.png: seaside, red"]
    assert removed.stderr.endswith("3 keywords removed from the sidecars of 2 photographs\n")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

"""Rehearses what a person does with a tagged photo library, and measures the keywords that come of it.

    python -m experiments.library_rehearsal --raw_dir=coco --output=/tmp/library
    python -m experiments.library_rehearsal --raw_dir=coco --output=/tmp/library --photos=500 --new_photos=200

Makes a library from test photographs (val) of a folder in MSCOCO's layout. They trained neither the trunk of
the package nor its starter model. Events are in folders, keywords in IPTC, XMP, hierarchies and sidecars.
Some keywords show in no pixel, and some photographs have none. Files are JPEG, HEIC, PNG and DNG. Then runs
the commands of docs/datasets/library.md: pack, look at the labels, pack again, train, annotate, --remove. New
photographs of other events, with their true labels, measure three models: the library's, the starter model,
and a model of a CSV file with the same labels and split.

Fails if a photograph has changed by a byte, or a sidecar after --remove. Needs exiftool; HEIC and DNG files
are written where pillow-heif and PiDNG are installed. An interrupted rehearsal continues with the step that
has not finished. No photograph is written outside of --output.
"""

import csv
import hashlib
import io
import pathlib
import shutil
import subprocess
import sys
import time

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError

_RAW_DIR = flags.DEFINE_string("raw_dir", None, "Folder in the layout of MSCOCO.", required=True)
_YEAR = flags.DEFINE_enum("year", None, ["2014", "2017"], "Which year, where the files of two are there.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder of everything.", required=True)
_PHOTOS = flags.DEFINE_integer("photos", 2000, "Photographs of the library.", lower_bound=20)
_NEW_PHOTOS = flags.DEFINE_integer("new_photos", 1000, "New photographs to measure on.", lower_bound=10)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the library.", lower_bound=0)
_MIN_PHOTOS = flags.DEFINE_integer("min_photos", 20, "Photographs that a keyword needs to be a label.")
_SETTINGS = flags.DEFINE_list("settings", [], "Settings of both trainings, as name=value,name=value.")
OWN, FROM_CSV, STARTER = "library", "CSV, same labels", "starter"


def main() -> None:
    from experiments.library import planning, writing
    from msmm.inference import starter

    output = pathlib.Path(_OUTPUT.value).absolute()
    labels = (starter.find_starter_model() / "labels.txt").read_text(encoding="utf-8").splitlines()
    wanted = _PHOTOS.value + _NEW_PHOTOS.value
    photographs = planning.read_photographs(_RAW_DIR.value, _YEAR.value, labels, wanted, _SEED.value)
    if len(photographs) < wanted:
        raise UserError(f"expected {wanted:,} photographs with labels in val, there are {len(photographs):,}")
    formats = writing.list_formats()
    library = planning.plan_library(photographs[: _PHOTOS.value], _SEED.value, True, formats)
    new = planning.plan_library(photographs[_PHOTOS.value :], _SEED.value, False, formats)
    _write(library, output / "Pictures")
    _write(new, output / "New")
    if not (output / "Bare").exists():
        writing.copy_bare(new, output / "Bare.partial")
        (output / "Bare.partial").rename(output / "Bare")

    before = _hash_files(output / "Pictures")
    _pack_library(output)
    train = ["--config=custom", *(f"--{setting}" for setting in _SETTINGS.value)]
    _run(output, "train", ["msmm.train", "--dataset=my_library", *train], "starter:")
    print(_compare_labels(output, library))
    _pack_csv(output, library)
    _run(output, "train_csv", ["msmm.train", "--dataset=from_csv", *train], "starter:")
    _annotate_library(output, before)
    print(_measure(output, new))


def _write(plans: list, folder: pathlib.Path) -> None:
    """Writes a library, whole or not at all, and prints what is in it."""
    from experiments.library import writing

    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    kinds = writing.write_library(plans, partial)
    partial.rename(folder)
    counts = ", ".join(f"{kind}: {count:,}" for kind, count in sorted(kinds.items()))
    print(f"{folder.name}: {len(plans):,} photographs ({counts})", flush=True)


def _pack_library(output: pathlib.Path) -> None:
    """Packs the library, deletes the words that no pixel shows from its labels, and packs it again."""
    from experiments.library.planning import CITIES, NOISE

    command = ["tfrecords_tools.pack", "--dataset=library", "--photos=Pictures"]
    chosen = output / "my_labels.txt"
    if not chosen.exists():
        _run(output, "pack", [*command, f"--min_photos={_MIN_PHOTOS.value}"], "labels: ")
        listed = (output / "data/my_library/1.0.0/chosen_labels.txt").read_text(encoding="utf-8")
        noise = {word.casefold() for word in (*NOISE, *CITIES)}
        kept = [name for name in listed.splitlines() if name.casefold() not in noise]
        chosen.write_text("".join(f"{name}\n" for name in kept), encoding="utf-8")
    _run(output, "pack_again", [*command, f"--labels_file={chosen.name}", "--overwrite"], "photographs ")


def _compare_labels(output: pathlib.Path, library: list) -> str:
    """Returns a sentence on the labels of the packed library beside those that its plan gives."""
    packed = {id: names for names_of in _packed_labels(output).values() for id, names in names_of.items()}
    names = (output / "my_labels.txt").read_text(encoding="utf-8").splitlines()
    known = {name.casefold(): name for name in names}
    given = {
        plan.path: {known[word.casefold()] for word in plan.given if word.casefold() in known}
        for plan in library
    }
    given = {path: words for path, words in given.items() if words}
    differing = [path for path in given.keys() | packed.keys() if given.get(path) != packed.get(path)]
    total = sum(map(len, given.values()))
    return (
        f"{len(packed):,} labelled photographs with {total:,} labels; the labels of {len(differing)} differ "
        f"from the keywords that they were given{': ' if differing else ''}{', '.join(sorted(differing)[:5])}"
    )


def _packed_labels(output: pathlib.Path) -> dict[str, dict[str, set[str]]]:
    """Returns split -> id -> labels of the packed library."""
    command_line.import_tensorflow()
    from msmm.data import records

    dataset, found = records.open_dataset(output / "data", "my_library"), {}
    for split in dataset.splits:
        ids, _, labels = dataset.annotations(split)
        found[split] = {
            str(id): {name for name, has in zip(dataset.labels, row, strict=True) if has}
            for id, row in zip(ids, labels, strict=True)
        }
    return found


def _pack_csv(output: pathlib.Path, library: list) -> None:
    """Packs a CSV file with the labels and the split of the packed library, and without any other words."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["image", "labels", "split"])
    for split, rows in _packed_labels(output).items():
        table.writerows([f"Pictures/{id}", ";".join(sorted(names)), split] for id, names in rows.items())
    (output / "from_csv.csv").write_text(text.getvalue(), encoding="utf-8")
    _run(output, "pack_csv", ["tfrecords_tools.pack", "--dataset=manifest", "--manifest=from_csv.csv"])


def _annotate_library(output: pathlib.Path, before: dict[str, str]) -> None:
    """Writes the missing keywords into sidecars, removes them, and compares all files with before."""
    model = "--model=runs/my_library/seed0/model"
    _run(
        output, "annotate_library", ["msmm.annotate", "Pictures", model, "--format=xmp"], "annotated", (0, 1)
    )
    after = _hash_files(output / "Pictures")
    changed = [name for name in before if after.get(name) != before[name]]
    photographs = [name for name in changed if not name.endswith(".xmp")]
    sidecars = len(after) - len(before)
    if photographs:
        raise UserError(f"{len(photographs)} photographs have changed: {photographs[0]}")
    print(f"no photograph has changed; {len(changed)} sidecars were added to, {sidecars} are new")
    _run(output, "remove", ["msmm.annotate", "Pictures", "--remove"], "", (0, 1))
    if _hash_files(output / "Pictures") != before:
        raise UserError("after --remove, the files of the library differ from what they were")
    print("after --remove, every file of the library is byte for byte what it was")


def _measure(output: pathlib.Path, new: list) -> str:
    """Annotates the new photographs by the three models, and returns tables of their figures."""
    from experiments.library import measuring, writing
    from msmm.inference import starter
    from msmm.training.starter_comparison import match_labels

    models = {
        OWN: ["--model=runs/my_library/seed0/model"],
        FROM_CSV: ["--model=runs/from_csv/seed0/model"],
        STARTER: [],
    }
    known = (starter.find_starter_model() / "labels.txt").read_text(encoding="utf-8").splitlines()
    used = (output / "runs/my_library/seed0/model/labels.txt").read_text(encoding="utf-8").splitlines()
    matches = match_labels(used, known)
    shared = [known[j] for j in matches.values()]
    truth = measuring.truth_matrix([plan.truth for plan in new], shared)
    present = truth.any(axis=0)
    tables = [
        f"{len(used)} labels; {len(shared)} of them are the starter's, and {present.sum()} of these are on "
        "new photographs"
    ]
    for folder, title in ("New", "with folder names and captions"), ("Bare", "pixels alone"):
        paths = [f"New/{p.path}" if folder == "New" else f"Bare/{writing.bare_name(p)}" for p in new]
        read = {}
        for name, flag in models.items():
            file = f"{folder}_{name.split(',')[0]}.jsonl"
            command = ["msmm.annotate", folder, *flag, "--format=json", f"--output={file}", "--overwrite"]
            _run(output, file.removesuffix(".jsonl"), command, "", (0, 1))
            labels = shared if name == STARTER else [used[i] for i in matches]
            read[name] = measuring.read_annotations(output / file, paths, labels)
            read[name] = measuring.Annotations(
                read[name].chosen[:, present], read[name].probabilities[:, present]
            )
        figures = {name: measuring.measure(a, truth[:, present]) for name, a in read.items()}
        gains = {
            name: measuring.describe_gain(truth[:, present], read[STARTER], read[name])
            for name in read
            if name != STARTER
        }
        tables.append(measuring.figures_table(f"{len(new):,} new photographs, {title}", figures, gains))
    text = "\n\n".join(tables)
    (output / "figures.md").write_text(text + "\n", encoding="utf-8")
    return text


def _run(
    output: pathlib.Path, name: str, command: list[str], shown: str = "", statuses: tuple[int, ...] = (0,)
) -> None:
    """Runs a command of the project in the folder `output`, unless it has finished before.

    Its output goes to logs/; lines that contain `shown` are printed.
    """
    logs = output / "logs"
    logs.mkdir(exist_ok=True)
    log, done = logs / f"{name}.txt", logs / f"{name}.done"
    line = f"$ python -m {' '.join(command)}"
    if done.exists() and done.read_text(encoding="utf-8") == line:
        print(f"{line}  (done)", flush=True)
        return
    print(line, flush=True)
    started = time.monotonic()
    with open(log, "w", encoding="utf-8") as file:
        result = subprocess.run(
            [sys.executable, "-m", *command], cwd=output, stdout=file, stderr=subprocess.STDOUT
        )
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if result.returncode not in statuses:
        raise UserError(
            f"{line} ended with status {result.returncode}: {lines[-1] if lines else ''}; see {log}"
        )
    done.write_text(line, encoding="utf-8")
    for text in lines if shown else ():
        if shown in text:
            print(f"  {text.strip()}")
    print(f"  {time.monotonic() - started:.0f} s", flush=True)


def _hash_files(folder: pathlib.Path) -> dict[str, str]:
    """Returns the SHA-256 of every file, by its path in the folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


if __name__ == "__main__":
    command_line.run(main)

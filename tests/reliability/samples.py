"""Small samples of every kind of file that the project reads, in two variants that differ only in content."""

import json
import pathlib
import shutil
import zipfile

import keras
import numpy as np

from msmm.core import checksums
from msmm.core.files import write_json
from msmm.inference import model_dir
from msmm.models import backbone
from msmm.photos import annotation_lines, gallery, outputs, sidecars
from msmm.quantities.fitting import fit_counting_rules
from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.training import array_cache, model_parts, state
from tests.msmm.conftest import LABELS, TAGS, figures, picture
from tests.tfrecords_tools.raw.svg_metadata_test import PUBLIC, SVG
from tfrecords_tools.datasets import scenes

OWNER = {"settings": {"seed": 0, "k": 3}, "inputs": {"dataset": "abc"}}


def write(root: pathlib.Path, variant: int, trained_run, data_dir, model_directory) -> pathlib.Path:
    """Fills `root` with one folder per case of `corruption_test.READERS`; variant: 0 or 1."""
    _data(root, variant, data_dir)
    _models(root, variant, model_directory)
    _run(root, variant, trained_run)
    _caches(root, variant)
    _backbone(root, variant)
    _manifests(root, variant)
    _nus_wide(root / "nus_wide", variant)
    _mscoco(root / "mscoco", variant)
    _texts(root, variant)
    return root


def annotated(path: str) -> annotation_lines.Annotated:
    thumbnail = b"\xff\xd8\xff"
    return annotation_lines.Annotated(
        path, ("sky",), {"sky": 0.9, "sea": 0.1}, 1.0, ["blue"], [], [], thumbnail
    )


def _data(root, variant, data_dir):
    if variant:
        scenes.pack_scenes(root / "data", num_train=100, num_test=40, image_size=32, scenes_seed=variant)
    else:
        shutil.copytree(data_dir, root / "data")
    shutil.copytree(root / "data", root / "earlier")
    (root / "earlier/scenes/1.0.0" / checksums.SUMS).unlink()


def _models(root, variant, model_directory):
    network = model_dir.load(model_directory).network
    rng = np.random.default_rng(variant)
    labels = rng.random((60, len(LABELS))) < 0.4
    held_out = HeldOutPredictions(
        rng.random(labels.shape, np.float32), labels.sum(1) + rng.random(60), labels
    )
    info = {"dataset": f"scenes {variant}", "msmm": "0", "seed": variant, "images": {"test": 1},
            "test": figures(), "settings": {"backbone": "none", "weights": "none"}}  # fmt: skip
    if variant:
        network.get_layer("logits").set_weights([w + 1 for w in network.get_layer("logits").get_weights()])
    names = (LABELS[::-1], TAGS[::-1]) if variant else (LABELS, TAGS)
    fitted = dict.fromkeys(model_dir.QUANTITIES, fit_counting_rules(held_out))
    for name in ("model", "earlier_model"):
        model_dir.save(root / name / "model", network, *names, info, fitted)
    (root / "earlier_model/model" / checksums.SUMS).unlink()


def _run(root, variant, trained_run):
    shutil.copytree(trained_run.dataset.directory.parents[1], root / "run/data")
    shutil.copy(trained_run.workdir / "run.json", root / "run")
    for stage in ("textual", "quantity"):
        directory = root / "run/seed0" / stage
        shutil.copytree(trained_run.stage_directory(stage), directory, ignore=shutil.ignore_patterns("log"))
        if variant:
            record, part = trained_run.stage_record(stage), model_parts.load_part(trained_run, stage)
            part.set_weights([weight + 1 for weight in part.get_weights()])
            part.save_weights(directory / f"{stage}.weights.h5")
            write_json(directory / "stage.json", record | {"seconds": 1.5})
            checksums.write(directory, ["stage.json", *(path.name for path in directory.glob("*.h5"))])


def _caches(root, variant):
    array = np.random.default_rng(variant).random((50, 8), np.float32)
    array_cache.cache_arrays(root / "features", "visual", {"a": 1}, 50, lambda: [[array]], np.float32)
    (root / "state").mkdir()
    progress = state.Progress(0.1 + variant, epoch=2, history=[{"epoch": 1, "held-out": {"H-F1": 40.0}}])
    owner = OWNER | {"inputs": {"dataset": "another"}} if variant else OWNER
    state.save_state(root / "state/state.npz", {"variable0": array, "best0": -array}, progress, owner)


def _backbone(root, variant):
    (root / "backbone").mkdir()
    keras.utils.set_random_seed(variant)
    backbone.resnet((1, 1, 1, 1), 4).save(root / "backbone/trunk.keras")
    backbone.resnet((1, 1, 1, 1), 4).save_weights(root / "backbone/w.weights.h5")


def _manifests(root, variant):
    (root / "manifests/photos").mkdir(parents=True)
    rows = []
    for number in range(3):
        picture().save(root / f"manifests/photos/{number}.jpg")
        labels, tags = ["sky", f"sea {number}"], ["blue", "Ü"]
        rows.append({"image": f"photos/{number}.jpg", "labels": labels, "tags": tags, "split": "train"})
    text = "".join(json.dumps(row | {"labels": ["x"]} if variant else row) + "\n" for row in rows)
    (root / "manifests/photos.jsonl").write_text(text)
    cells = [f"{row['image']},{';'.join(row['labels'])},{'a;b' * variant},train\n" for row in rows]
    (root / "manifests/photos.csv").write_text("image,labels,tags,split\n" + "".join(cells))
    (root / "manifests/labels.txt").write_text("sky\nsea\n" + "sand\n" * variant)


def _nus_wide(root, variant):
    concepts, tags = ["lake", "sky"], ["nature", "nikon", "2007"]
    rng = np.random.default_rng(variant)
    for folder in ("lists", "truth", "Flickr/a"):
        (root / folder).mkdir(parents=True)
    (root / "lists/Concepts81.txt").write_text("".join(f"{c}\n" for c in concepts))
    (root / "lists/TagList1k.txt").write_text("".join(f"{t}\n" for t in tags))
    for part, count in (("Train", 4), ("Test", 3 + variant)):
        names = [f"a/{part}{number}.jpg" for number in range(count)]
        for name in names:
            picture().save(root / "Flickr" / name)
        (root / f"lists/{part}Imagelist.txt").write_text("".join(f"{name}\r\n" for name in names))
        rows = rng.integers(2, size=(count, len(tags)))
        (root / f"truth/{part}_Tags1k.dat").write_text("".join("\t".join(map(str, r)) + "\t\n" for r in rows))
        for concept in concepts:
            values = "".join(f"{v}\n" for v in rng.integers(2, size=count))
            (root / f"truth/Labels_{concept}_{part}.txt").write_text(values)
    with zipfile.ZipFile(root / "ImageList.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((root / "lists").glob("*Imagelist.txt")):
            archive.write(path, path.name)
            path.unlink()


def _mscoco(root, variant):
    categories = [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}]
    (root / "annotations").mkdir(parents=True)
    for part, count in (("train2017", 3), ("val2017", 2)):
        (root / part).mkdir()
        images = [{"id": i + 7 * variant, "file_name": f"{part}{i}.jpg"} for i in range(count)]
        for image in images:
            picture().save(root / part / image["file_name"])
        objects = [{"image_id": i["id"], "category_id": 1 + 2 * (i["id"] % 2), "iscrowd": 0} for i in images]
        captions = [{"image_id": i["id"], "caption": "A black dog and a cat"} for i in images]
        content = {"images": images, "annotations": objects, "categories": categories}
        (root / f"annotations/instances_{part}.json").write_text(json.dumps(content))
        (root / f"annotations/captions_{part}.json").write_text(json.dumps({"annotations": captions}))


def _texts(root, variant):
    for name in ("drawing", "sidecar", "lines"):
        (root / name).mkdir()
    (root / "drawing/drawing.svg").write_text(SVG.format(licence=PUBLIC, more="<a/>" * variant))
    picture().save(root / "sidecar/a.jpg")
    sidecars.write_labels(
        str(root / "sidecar/a.jpg"), ["Rome", "Ü"], ["sea"], f"model {variant}", str.casefold
    )
    photos = [annotated(f"photo {number + variant}.jpg") for number in range(3)]
    for output in (
        outputs.File(str(root / "lines/annotations.jsonl"), annotation_lines.JSON, "model", overwrite=False),
        outputs.File(str(root / "lines/annotations.csv"), annotation_lines.CSV, "model", overwrite=False),
        gallery.Gallery(str(root / "gallery/gallery"), f"model {variant}", overwrite=False),
    ):
        with output:
            for photo in photos:
                output.write(photo)

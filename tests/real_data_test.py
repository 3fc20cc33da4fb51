"""Real photographs and a real pretrained network, where they are available."""

import collections
import json
import re

import numpy as np
import pytest

from tests.conftest import SHARED

COCO = SHARED / "data" / "coco_tiny"
WEIGHTS = SHARED / "weights" / "efficientnet_lite0_imagenet.keras"

pytestmark = pytest.mark.skipif(
    not (COCO.exists() and WEIGHTS.exists()),
    reason=f"needs {COCO.name} and {WEIGHTS.name} beside the project",
)


def write_coco_manifest(directory):
    """Writes a manifest of 100 COCO photographs; labels are objects, and tags are words of captions."""
    rows, categories = [], None
    for split, name in (("train", "train2017"), ("test", "val2017")):
        instances = json.loads((COCO / "annotations" / f"instances_{name}.json").read_text())
        captions = json.loads((COCO / "annotations" / f"captions_{name}.json").read_text())
        categories = {c["id"]: c["name"] for c in instances["categories"]}
        labels, words = collections.defaultdict(set), collections.defaultdict(set)
        for a in instances["annotations"]:
            labels[a["image_id"]].add(categories[a["category_id"]])
        for a in captions["annotations"]:
            words[a["image_id"]] |= {w for w in re.findall("[a-z]+", a["caption"].lower()) if len(w) > 3}
        for image in instances["images"]:
            if labels[image["id"]]:
                row = {"image": str(COCO / name / image["file_name"]), "split": split}
                rows.append(row | {"labels": sorted(labels[image["id"]]), "tags": sorted(words[image["id"]])})
    (directory / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (directory / "labels.txt").write_text("".join(f"{name}\n" for name in categories.values()))
    return rows


@pytest.mark.slow
def test_model_trained_on_a_coco_manifest_annotates_better_than_chance(tmp_path):
    """Packs, trains every stage with the pretrained backbone at 224 px, and annotates."""
    from PIL import Image

    from msmm.configs import custom, openclipart, replace_flat
    from msmm.data import records
    from msmm.inference import model_dir
    from msmm.training import stages, table_predictions
    from msmm.training.run import Run
    from msmm.training.stage_table import PAPER_STAGES
    from tfrecords_tools.datasets import manifest
    from tfrecords_tools.packing import builder

    rows = write_coco_manifest(tmp_path)
    builder.pack(
        manifest.Manifest,
        "coco",
        tmp_path / "data",
        manifest=tmp_path / "manifest.jsonl",
        labels_file=tmp_path / "labels.txt",
    )
    dataset = records.open_dataset(tmp_path / "data", "coco")
    assert len(dataset.labels) == 80
    assert sum(dataset.num_examples(s) for s in dataset.splits) == len(rows)
    taps = openclipart.Config().backbone_taps
    settings = {"backbone": str(WEIGHTS), "backbone_taps": taps, "batch_size": 8, "bn_batches": 5}
    settings |= {"finetune_epochs": 4, "visual_epochs": 4}
    config = replace_flat(custom.Config(), settings)
    run = Run(tmp_path / "run", dataset, config)
    for stage in PAPER_STAGES:
        stages.train(run, stage)
    model = model_dir.load(table_predictions.save_model(run))
    test = [row for row in rows if row["split"] == "test"]
    photographs = [np.asarray(Image.open(row["image"]).convert("RGB")) for row in test]
    predictions = model.annotate(photographs, [row["tags"] for row in test])
    print(
        *[(row["labels"], a.labels, round(a.quantity, 2)) for row, a in zip(test, predictions, strict=True)][
            :8
        ],
        sep="\n",
    )
    precision = np.mean(
        [label in row["labels"] for row, a in zip(test, predictions, strict=True) for label in a.labels]
    )
    prior = np.mean([len(row["labels"]) for row in test]) / 80
    assert precision > 3 * prior  # with fifty training photographs

"""The README.md of a model directory, in the form of the model cards of Hugging Face.

It reports measured figures and nothing else: a sentence whose figure is missing is left out.
"""

import json
from collections.abc import Sequence

import numpy as np

from msmm.core.class_summary import shown_classes
from msmm.scoring.metrics import METRICS
from msmm.scoring.ranking_metrics import MEAN_AP, RANKING_METRICS

TYPES = {"P": "precision", "R": "recall", "F1": "f1"}  # names of Hugging Face's metrics
WEAKEST = 5  # number of classes in the list of the weakest


def model_card(info: dict, labels: Sequence[str], tags: Sequence[str]) -> str:
    """Returns Markdown with YAML in front.

    Args:
      info: the content of model.json.
      labels, tags: the vocabularies.
    """
    sections = [
        _front_matter(info),
        f"# msmm, trained on {_plain(info['dataset'])}\n\n"
        f"Chooses labels for an image from {len(labels)} classes, and how many, from its pixels and its "
        f"tags ({len(tags):,} are known). The method comes from *Multi-Modal Multi-Scale Deep Learning for "
        "Large-Scale Image Annotation* (arXiv 1709.01220).",
        _use(info),
        _data(info, labels),
        _numbers(info),
        _limits(info, labels),
        "## Files\n\n`model.keras` the network; `labels.txt`, `tags.txt` its classes and tags, a line each; "
        "`model.json` settings, preprocessing and figures. Nothing in it is run as code when it is loaded.",
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(info: dict) -> str:
    dataset, test = info["dataset"], info["test"]
    metrics = [(TYPES[name.split("-")[1]], name, test[name]) for name in METRICS]
    if MEAN_AP in test:
        metrics.append(("mean_average_precision", MEAN_AP, test[MEAN_AP]))
    if "Accuracy" in test:
        metrics += [("accuracy", "label quantity accuracy", test["Accuracy"]),
                    ("mse", "label quantity MSE", test["MSE"])]  # fmt: skip
    lines = [
        "---",
        f"license: {_license(info)}",
        "library_name: keras",
        "pipeline_tag: image-classification",
        "tags:",
        *(f"- {tag}" for tag in ("multi-label-classification", "image-annotation", "msmm")),
        "metrics:",
        *(f"- {kind}" for kind in dict.fromkeys(kind for kind, _, _ in metrics)),
        "model-index:",
        f"- name: {_yaml(f'msmm-{dataset}')}",
        "  results:",
        "  - task:",
        "      type: image-classification",
        "      name: Image annotation",
        "    dataset:",
        f"      type: {_yaml(dataset)}",
        f"      name: {_yaml(info.get('description', dataset))}",
        "      split: test",
        "    metrics:",
    ]
    for kind, name, value in metrics:
        lines += [f"    - type: {kind}", f"      name: {_yaml(name)}", f"      value: {value:.4g}"]
    return "\n".join([*lines, "---"])


def _license(info: dict) -> str:
    """Returns the licence of the weights: known only where they come from freely drawn data alone."""
    free = (info.get("licence") or "").startswith("Apache-2.0")
    return "apache-2.0" if free and _start(info) == "random weights" else "unknown"


def _start(info: dict) -> str:
    """Returns the weights that the training of the backbone started from."""
    from msmm.models import hub, packaged  # of Keras, which loading a model does not need

    backbone, weights = info["settings"]["backbone"], info["settings"]["weights"]
    if weights not in ("none", "imagenet"):  # a file replaces what the backbone comes with
        return f"the weights {_plain(weights)}"
    if backbone in packaged.ORIGINS:
        return packaged.ORIGINS[backbone]
    if backbone.endswith(".keras"):
        return "the weights in it"
    if weights == "none":
        return "random weights"
    return "the weights of that preset" if backbone.startswith(hub.PREFIX) else "ImageNet weights"


def _use(info: dict) -> str:
    steps = info["preprocessing"]
    return (
        "## Use\n\n```python\nimport msmm\n\n"
        'model = msmm.load("path/to/this/folder")\n'
        'for annotation in model.annotate(["photo.jpg"]):  # or arrays, RGB uint8 [H, W, 3], and tags=[…]\n'
        "    print(annotation.labels, annotation.quantity)\n```\n\n"
        "or `python -m msmm.annotate photos --model=path/to/this/folder`.\n\n"
        f"Preprocessing: {steps['resize']}, to {steps['image_size']} × {steps['image_size']} pixels, "
        f"{steps['pixels']}; {steps['normalisation']}. Tags: {steps['tags']}."
    )


def _data(info: dict, labels: Sequence[str]) -> str:
    counts = " and ".join(f"{count:,} {split}" for split, count in info["images"].items())
    licence = info.get("licence") or "not stated where the data were packed"
    text = (
        f"## Data and training\n\n{_plain(info.get('description', info['dataset']))}: {counts} images, "
        f"{info['test']['mean true']:.2f} labels per test image. Licence of the data: {_plain(licence)}.\n\n"
        f"Backbone {_plain(info['settings']['backbone'])}, starting from {_start(info)}; "
        f"seed {info['seed']}, msmm {info['msmm']}"
    )
    versions = "".join(f", {name} {version}" for name, version in info.get("versions", {}).items())
    text = f"{text}{versions}. All settings are in `model.json`."
    classes = info.get("classes", [])
    with_ap = any("AP" in c for c in classes)  # models of 0.1.0 have none
    shown = shown_classes(np.array([c["F1"] if c["test"] else np.nan for c in classes]))
    rows = [
        f"| {_plain(label)} | {c['train']:,} | {c['test']:,} | {c['F1']:.1f} |" + f" {_ap(c)} |" * with_ap
        for label, c in ((labels[i], classes[i]) for i in shown)
    ]
    table = [
        "| class | training images | test images | F1 (%) |" + " AP (%) |" * with_ap,
        "| --- | ---: | ---: | ---: |" + " ---: |" * with_ap,
    ]
    if len(rows) < len(classes):
        text += " The table has the classes with the highest and the lowest F1; `model.json` has all."
    return text + ("\n\n" + "\n".join(table + rows) if rows else "")


def _ap(measured: dict) -> str:
    """Returns the average precision of a class; a class without a test image has none."""
    value = measured.get("AP")
    return "—" if value is None else f"{value:.1f}"


def _numbers(info: dict) -> str:
    rows = [("with their tags", info["test"])]
    if "test with the chosen quantity" in info:
        rows.append(("with their tags, as `annotate` counts them", info["test with the chosen quantity"]))
    if "test without tags" in info:
        rows.append(("without any tags", info["test without tags"]))
    if "test without tags with the chosen quantity" in info:
        counted = info["test without tags with the chosen quantity"]
        rows.append(("without any tags, as `annotate` counts them", counted))
    lines = [
        f"## Numbers\n\nOn the {info['images']['test']:,} test images, in percent (eq. 6-7 of the paper), "
        "with the label quantity of the regressor, or of the counting rule that `annotate` uses:\n",
        f"| test images | {' | '.join(METRICS)} |",
        "| --- |" + " ---: |" * len(METRICS),
        *_cells(rows, METRICS),
    ]
    ranked = [(name, figures) for name, figures in rows if MEAN_AP in figures]
    if ranked:
        lines += [
            "\nThe ranking of the labels: mean average precision (equal scores are one threshold), and F1 of "
            "all labels of a probability above 0.5:\n",
            f"| test images | {' | '.join(RANKING_METRICS)} |",
            "| --- |" + " ---: |" * len(RANKING_METRICS),
            *_cells(ranked, RANKING_METRICS),
        ]
    return "\n".join(lines)


def _cells(rows: Sequence[tuple[str, dict]], names: Sequence[str]) -> list[str]:
    """Returns lines of a Markdown table, one per row."""
    return [
        f"| {title} | {' | '.join(f'{figures[name]:.2f}' for name in names)} |" for title, figures in rows
    ]


def _limits(info: dict, labels: Sequence[str]) -> str:
    test = info["test"]
    lines = [
        "Measured on the test images of this data set alone: figures on other data are not known.",
        "Its classes are its only labels, and every image gets at least one of them.",
    ]
    if "Accuracy" in test:
        lines.append(
            f"The label quantity is right for {test['Accuracy']:.1f} % of the test images; its mean squared "
            f"error is {test['MSE']:.3f}; the best constant has {test['variance of true']:.3f}."
        )
    if test["classes never predicted"]:
        lines.append(f"Classes never predicted for a test image: {test['classes never predicted']}.")
    if "test without tags" in info:
        without = info["test without tags"]
        lines.append(
            "An image without a known tag is annotated by its pixels alone: H-F1 "
            f"{without['H-F1']:.2f}, with tags {test['H-F1']:.2f}."
        )
    if classes := info.get("classes"):
        tested = [(c["F1"], label) for label, c in zip(labels, classes, strict=True) if c["test"]]
        weakest = ", ".join(f"{_plain(label)} ({f1:.1f})" for f1, label in sorted(tested)[:WEAKEST])
        lines.append(f"Weakest classes, by F1: {weakest}.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _yaml(text: str) -> str:
    return json.dumps(text, ensure_ascii=True)  # a JSON string is a YAML one


def _plain(text: str) -> str:
    """Returns a text in one line, without HTML and Markdown."""
    line = " ".join(str(text).split())
    return "".join(f"&#{ord(c)};" if c in "<>&|`*[]\\" else c for c in line)

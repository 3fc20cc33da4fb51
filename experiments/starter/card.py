"""The model card of the starter model: data, licences, figures of every label, limits."""

from collections.abc import Sequence

from experiments.starter.counting import MOST_FALSE
from msmm.scoring.metrics import METRICS

_FRONT = """\
---
license: apache-2.0
library_name: openvino
pipeline_tag: image-classification
tags:
- multi-label-classification
- image-annotation
- msmm
---"""
_LIMITS = """\
## What it cannot do

- Its labels are those above, and no others. It names no persons, places or events, and reads no text.
- It has no labels for the sex, age, ethnicity, clothing or mood of people: all are "people".
- A photograph gets no label where none is sure, and a wrong one where it shows what the labels do not have.
- It learned from everyday photographs of MSCOCO. Drawings, scans, medical and aerial images, and subjects
  that such photographs rarely show, get wrong labels. How it does on other collections was not measured.
- Captions are the truth of the nouns, and a caption leaves most of a photograph out. A noun that is right
  but not in the caption counts as wrong, and a missed noun can go unnoticed.
- Its labels are proposals. Do not use it where a wrong or a missing label does harm."""
_LICENCE = """\
## Data and licences

Trained on a part of MSCOCO (Lin et al. 2014). The annotations are licensed CC BY 4.0 by the COCO
Consortium. Each photograph is under its owner's terms on Flickr, and none of them is in the package. The
trunk started from the ImageNet weights of EfficientNet-Lite0 (Google, Apache-2.0). The weights here are
Apache-2.0."""


def starter_card(info: dict, labels: Sequence[str]) -> str:
    """Returns the model card as Markdown.

    Args:
        info: the content of model.json, with the entry "starter" of `packaging.describe`.
        labels: the C labels, the objects first.
    """
    starter = info["starter"]
    objects = starter["objects"]
    sections = [
        _FRONT,
        "# The starter model of msmm\n\n"
        f"Chooses keywords for photographs from {len(labels)} labels: {objects} objects "
        f"and {len(labels) - objects} nouns of captions. It reads the pixels, and the "
        "keywords that a photograph has as tags.",
        "## Use\n\n```sh\npython -m msmm.annotate photos\n```\n\n"
        "```python\nimport msmm\n\nmodel = msmm.load()\n"
        'print(model.annotate(["photo.jpg"])[0].labels)\n```\n\nOpenVINO runs the network; TensorFlow is not '
        "imported. Nothing in this folder is run as code when it is loaded.",
        _LICENCE,
        _training(info),
        _counting(info),
        _labels(info, labels),
        _candidates(starter),
        _LIMITS,
    ]
    return "\n\n".join(sections) + "\n"


def _training(info: dict) -> str:
    settings, images = info["settings"], info["images"]
    return (
        f"## Training\n\n{info['description']}: {images['train']:,} photographs train (of which "
        f"{info['starter']['held out']:,} are held out for choices), {images['test']:,} test. The stages of "
        "msmm (arXiv 1709.01220) on "
        f"the frozen backbone {settings['backbone']}, {settings['image_size']} pixels, seed {info['seed']}, "
        f"msmm {info['msmm']}. `python -m experiments.starter_model --raw_dir=DIR` makes it again; all "
        "settings are in `model.json`. Tags in training are the words of the caption that name no label."
    )


def _counting(info: dict) -> str:
    targets, figures = info["starter"]["targets"], info["starter"]["figures"]
    lines = [
        "## Default counting\n\n"
        "One threshold for objects and one for nouns. Each is the lowest one whose precision on held-out "
        f"photographs is at least {100 * targets['objects']:.0f} % (objects, by the annotated objects) and "
        f"{100 * targets['nouns']:.0f} % (nouns, by the captions), at the lower end of its 95 % interval. "
        "A label that most photographs have (people) gets a higher one, which at most "
        f"{100 * MOST_FALSE:.0f} % of the photographs without it reach. A photograph may get no label.\n\n"
        "On the test photographs, in percent, beside one threshold that maximises H-F1 "
        "(`--quantity=threshold`), which shows the cost in recall:\n",
        "| input, counting | P of objects | R of objects | P of nouns | R of nouns | labels per photograph | "
        + " | ".join(METRICS) + " |",
        "| --- |" + " ---: |" * (5 + len(METRICS)),
    ]  # fmt: skip
    names = ("precision of objects", "recall of objects", "precision of nouns", "recall of nouns")
    for inputs, measured in figures.items():
        for rule in ("default", "one threshold for H-F1"):
            values = [f"{measured[rule][name]:.1f}" for name in (*names, "labels per photograph", *METRICS)]
            lines.append(f"| {inputs}, {rule} | {' | '.join(values)} |")
    for inputs, measured in figures.items():
        ranking = measured["ranking"]
        lines.append(
            f"\nMean average precision, {inputs}: {_number(ranking['mAP of objects'])} of objects, "
            f"{_number(ranking['mAP of nouns'])} of nouns."
        )
    return "\n".join(lines)


def _labels(info: dict, labels: Sequence[str]) -> str:
    starter = info["starter"]
    pixels, tagged = (starter["figures"][inputs]["labels"] for inputs in ("pixels alone", "with tags"))
    head = [
        "| label | training photographs | test photographs | AP | AP with tags | precision | recall |",
        "| --- |" + " ---: |" * 6,
    ]
    rows = [
        f"| {label} | {counts['train']:,} | {counts['test']:,} | {_number(alone['AP'])} | "
        f"{_number(both['AP'])} | {_number(alone['precision'])} | {_number(alone['recall'])} |"
        for label, counts, alone, both in zip(labels, info["classes"], pixels, tagged, strict=True)
    ]
    objects = starter["objects"]
    return "\n".join([
        "## Labels\n\nIn percent, on the test photographs. Precision and recall are those of the default "
        "counting from pixels alone. —: no test photograph gets the label, so it has no precision."
        "\n\n### Objects\n", *head, *rows[:objects],
        "\n### Nouns, by the captions\n", *head, *rows[objects:],
    ])  # fmt: skip


def _candidates(starter: dict) -> str:
    rule = starter["rule"]
    left_out = [c for c in starter["candidates"] if not c["kept"]]
    listed = ", ".join(f"{c['label']} ({_number(c['ap'])}; {c['photographs']:,})" for c in left_out)
    return (
        f"## Choice of the nouns\n\nOf {len(starter['candidates'])} candidates, those are labels that "
        f"{rule['least photographs']:,} or more training photographs have and that a linear classifier on "
        f"the trunk's pooled features ranks with an average precision of at least {rule['least AP']:g} % on "
        "held-out photographs. Left out (average precision, — if no held-out photograph has the noun; "
        f"training photographs): {listed or 'none'}."
    )


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.1f}"

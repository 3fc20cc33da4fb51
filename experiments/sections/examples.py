"""Draws images of a data set with their labels: Figures 5 and 6."""

import hashlib
import io
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from experiments.reporting.rendering import Picture
from experiments.reporting.report import Figure
from experiments.sections.study import Section, Study
from msmm.core.contact_sheet import Span as Words
from msmm.core.contact_sheet import contact_sheet
from msmm.core.errors import UserError
from msmm.data.records import IMAGE, IMAGE_ID, LABELS, TAGS, Dataset
from msmm.training.log import BLUE, GREEN, GREY
from msmm.training.table_predictions import predict_probabilities
from msmm.training.table_rows import COMPLETE, TABLE_ROWS

CELL = 200  # pixels of each image
MOST_WORDS = 12  # of the labels, and of the tags, of an image
BLACK, TAG_BLUE = "#000000", "#1a5fb4"
KINDS = ("best", "typical", "worst")
RULE = (
    "Images are ordered by their F1, ties by a hash of their id. The best are at the top, the worst at the "
    "bottom, and the typical ones closest to the median F1."
)


def first_records(dataset: Dataset, split: str, count: int, skip: int = 0, least: int = 2) -> list[dict]:
    """Returns `count` records with `least` labels and tags or more, after the first `skip` of them."""
    # A data set without tags has examples too.
    least_tags = min(least, len(dataset.tags))
    fit = (r for r in _records(dataset, split) if len(r[LABELS]) >= least and len(r[TAGS]) >= least_tags)
    records = list(itertools.islice(fit, skip, skip + count))
    if not records:
        raise UserError(
            f"no image of {dataset.name} ({split}) with {least} labels and {least_tags} tags "
            f"after the first {skip}: choose a smaller --least or --skip"
        )
    return records


def records_by_id(dataset: Dataset, split: str, image_ids: Sequence[str]) -> list[dict]:
    """Returns the records with these ids, each once, in the order given."""
    wanted, records = set(image_ids), {}
    for record in _records(dataset, split):
        image_id = record[IMAGE_ID].decode()
        if image_id in wanted:
            records[image_id] = record
            if len(records) == len(wanted):
                break
    if missing := sorted(wanted - records.keys()):
        raise UserError(f"no image {missing[0]!r} in {split} of {dataset.name}: choose another --image_ids")
    return [records[image_id] for image_id in dict.fromkeys(image_ids)]


def _records(dataset: Dataset, split: str) -> Iterator[dict]:
    return dataset.read(split).as_numpy_iterator()


def draw_with_tags(dataset: Dataset, records: Sequence[dict]) -> Image.Image:
    """Draws images above their labels (black) and their tags (blue), as Figure 5."""
    captions = [
        [_words(record[LABELS], dataset.labels, BLACK), _words(record[TAGS], dataset.tags, TAG_BLUE)]
        for record in records
    ]
    return contact_sheet(_pictures(records), captions, 5, CELL)


def _pictures(records: Sequence[dict]) -> list[Image.Image]:
    return [Image.open(io.BytesIO(record[IMAGE])) for record in records]


def _words(ids, names: tuple[str, ...], colour: str) -> list[Words]:
    """Returns the names of class ids as a line of a caption."""
    shown = [names[i] for i in ids[:MOST_WORDS]]
    if len(ids) > MOST_WORDS:
        shown.append(f"and {len(ids) - MOST_WORDS} more")
    return _line([(word, colour) for word in shown])


def _line(words: Sequence[Words]) -> list[Words]:
    return [(word + ", " * (i < len(words) - 1), colour) for i, (word, colour) in enumerate(words)]


def image_f1(truth: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Returns the F1 of each image, [N] float64 in percent; 0 without a correct label. Both bool [N, C]."""
    correct, labels = (truth & chosen).sum(axis=1), truth.sum(axis=1) + chosen.sum(axis=1)
    return 100 * 2 * correct / np.maximum(1, labels)


def select_images(f1: np.ndarray, ids: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Returns the rows of the best, typical and worst images, at most `count` each, by `RULE`.

    f1: [N] float; ids: [N] str. An image is of one kind only, the first of best, worst, typical.
    """
    tie = [hashlib.sha256(image_id.encode()).hexdigest() for image_id in ids]  # independent of what ids mean
    left, rows = np.arange(len(f1)), {}
    for kind, cost in (("best", -f1), ("worst", f1), ("typical", np.abs(f1 - np.median(f1)))):
        order = np.lexsort((tie, cost))
        rows[kind] = order[np.isin(order, left)][:count]
        left = np.setdiff1d(left, rows[kind])
    return {kind: rows[kind] for kind in KINDS}


def make_figure6(study: Study, count: int = 5) -> Figure:
    """Draws test images above the ground truth (black) and the predicted labels, for the first seed.

    Labels come surest first: green where correct, blue where not in the ground truth; grey where missed.
    """
    run = study.run
    split, chosen = run.split("test"), study.rows[COMPLETE].chosen[0]
    scores = predict_probabilities(run, TABLE_ROWS[COMPLETE], "test")
    f1 = image_f1(split.labels, chosen)
    rows = select_images(f1, split.ids, count)
    kinds = [(kind, row) for kind in KINDS for row in rows[kind]]
    records = records_by_id(run.dataset, "test", [split.ids[row] for _, row in kinds])
    captions = []
    for kind, row in kinds:
        captions.append(_annotation(run.dataset.labels, split.labels[row], chosen[row], scores[row]))
        captions[-1].insert(0, [(f"{kind}, F1 {f1[row]:.0f} %", GREY)])
    sheet = contact_sheet(_pictures(records), captions, max(map(len, rows.values())), CELL)
    perfect = int((f1 == 100).sum())
    return Figure(
        "Figure 6: annotations of test images",
        Picture("figure6", "Test images with ground truth and annotations", png_bytes(sheet)),
        [
            "Black: the ground truth. Below it the annotations, surest first: green in the ground truth, "
            f"blue not in it; grey: missed. {COMPLETE}, seed {run.seed}.",
            f"{RULE} {perfect:,} of {len(f1):,} images are annotated without any error; median F1 "
            f"{np.median(f1):.2f} %.",
        ],
    )


def _annotation(labels, truth: np.ndarray, chosen: np.ndarray, scores: np.ndarray) -> list[list[Words]]:
    """Returns the lines under one image; truth and chosen bool [C], scores float [C]."""
    true = [(labels[i], BLACK) for i in np.flatnonzero(truth)]
    surest = [i for i in np.argsort(-scores, kind="stable") if chosen[i]]
    predicted = [(labels[i], GREEN if truth[i] else BLUE) for i in surest]
    missed = [(labels[i], GREY) for i in np.flatnonzero(truth & ~chosen)]
    return [_line(line) for line in (true, predicted, missed) if line]


def examples_section(study: Study) -> Section:
    """Returns Figures 5 and 6."""
    return Section(figures=[make_figure5(study), make_figure6(study)])


def make_figure5(study: Study) -> Figure:
    """Draws training images with their labels and tags."""
    dataset = study.run.dataset
    split = study.run.split("train")
    most = (np.minimum(split.counts, split.tags.sum(axis=1)) if dataset.tags else split.counts).max()
    least = min(2, int(most))
    sheet = draw_with_tags(dataset, first_records(dataset, "train", 10, least=least))
    return Figure(
        "Figure 5: training images with labels and tags",
        Picture("figure5", "Training images with their labels and tags", png_bytes(sheet)),
        [
            f"Black: the labels; blue: the noisy tags. The first images with at least {least} of each; "
            "records lie in the order of a hash."
        ],
    )


def png_bytes(image: Image.Image) -> bytes:
    """Encodes an image as PNG."""
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()

"""The contents of a packed data set as counts, text and picture: the packing report and more."""

import collections
import concurrent.futures
import dataclasses
import io
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from msmm.core import checksums, contact_sheet
from msmm.core.class_summary import ENDS, MANY
from msmm.core.errors import UserError
from msmm.core.files import read_json
from msmm.data import records
from tfrecords_tools.packing import vocabulary

NO_LABEL = "no label of the vocabulary"
NO_TAG = "no tag of the vocabulary"
LISTED_BEFORE = "listed a second time"
FILTERS = (NO_LABEL, NO_TAG, LISTED_BEFORE)  # causes that do not make an image a broken one
BAR = 40  # characters of the longest bar
TOP_TAGS = 30  # in the overview
SHEET_IMAGES, SHEET_COLUMNS = 24, 6
BLACK, GREY = "#000000", "#666666"  # labels, tags


def make_report(dataset: records.Dataset, builder, lists: Mapping[str, str] = {}) -> dict:
    """Returns the content of `report.json`, from the records as written and what `builder` counted.

    lists: the `digests` of the files that the data set was packed from.
    """
    thread = concurrent.futures.ThreadPoolExecutor(1)  # hashing takes as long as all the rest
    shards = thread.submit(dataset.checksums)
    splits = {}
    for split in dataset.splits:
        splits[split] = {
            "rows": builder.contents.num_rows[split],
            "kept": dataset.num_examples(split),
            "dropped": {cause: sorted(ids) for cause, ids in sorted(builder.dropped[split].items())},
            "labels_outside_vocabulary": _sorted_counts(builder.outside[split]["labels"]),
            "tags_outside_vocabulary": builder.outside[split]["tags"].total(),
            "class_tags_dropped": _class_tags(builder, split),
            **statistics(dataset, split),
        }
    settings = {**dataclasses.asdict(builder.raw), **dataclasses.asdict(builder.settings)}
    del settings["workers"]  # the records do not depend on it
    content = {
        "name": dataset.name,
        "description": dataset.description,
        "settings": {
            k: str(v) if isinstance(v, pathlib.Path) else v for k, v in settings.items() if v is not None
        },
        "num_labels": len(dataset.labels),
        "num_tags": len(dataset.tags),
        "oddities": list(builder.contents.oddities),
        "splits": splits,
        "checksums": shards.result(),
    }
    if builder.raw.context_tags:
        content["context_tags"] = True
    if lists:
        content["lists"] = dict(lists)
    if builder.raw.paper:
        content["paper"] = dataclasses.asdict(builder.raw.paper)
    return content


def digests(lists: Mapping[str, str | pathlib.Path]) -> dict[str, str]:
    """Returns the SHA-256 in hex of existing files, by option (`manifest`)."""
    return {argument: checksums.sha256(path) for argument, path in lists.items() if os.path.isfile(path)}


def changed(directory: pathlib.Path, lists: Mapping[str, str | pathlib.Path]) -> str:
    """Returns the end of a message where a data set was packed from other lists than these.

    "" where they are the same or gone, or where the report of an earlier version does not contain them.
    """
    path = directory / records.REPORT
    packed = read_json(path, "--overwrite packs it again").get("lists") if path.exists() else None
    if packed is None:
        return ""
    other = [str(lists[argument]) for argument, now in digests(lists).items() if now != packed.get(argument)]
    return f", but the list has changed since: {', '.join(other)}" if other else ""


def _class_tags(builder, split: str) -> dict[str, int]:
    """Returns the images per tag that --drop_class_tags has dropped, rows that were left out included."""
    if not builder.settings.drop_class_tags:
        return {}
    outside = builder.outside[split]["tags"]
    named = vocabulary.class_tags(outside, builder.contents.labels)
    return _sorted_counts({tag: outside[tag] for tag in named})


def statistics(dataset: records.Dataset, split: str) -> dict:
    """Returns labels and tags per image (mean, histogram), and the number of images with each of them."""
    _, tags, labels = dataset.annotations(split)
    return {
        "labels_per_image": _per_image(labels),
        "tags_per_image": _per_image(tags),
        "label_frequency": _sorted_counts(dict(zip(dataset.labels, labels.sum(0).tolist(), strict=True))),
        "tag_frequency": _sorted_counts(dict(zip(dataset.tags, tags.sum(0).tolist(), strict=True))),
    }


def summary(content: dict) -> str:
    """Returns a packing report as text."""
    lines = [f"{content['name']}: {content['num_labels']} labels, {content['num_tags']} tags"]
    for split, counts in content["splits"].items():
        lines += ["", f"{split}: {counts['kept']:,} of {counts['rows']:,} rows kept"]
        dropped = {cause: len(ids) for cause, ids in counts["dropped"].items()}
        if dropped:
            lines += [f"  left out: {in_words(dropped)}"]
        if counts["labels_outside_vocabulary"]:
            lines += [f"  labels not in the vocabulary: {in_words(counts['labels_outside_vocabulary'], 8)}"]
        if counts["tags_outside_vocabulary"]:
            lines += [f"  tags not in the vocabulary: {counts['tags_outside_vocabulary']:,} mentions"]
        if counts["class_tags_dropped"]:
            lines += [f"  of these, equal to a class name: {in_words(counts['class_tags_dropped'], 8)}"]
        lines += statistics_in_words(counts)
    if content["oddities"]:
        lines += ["", "worth knowing:", *(f"  {oddity}" for oddity in content["oddities"])]
    if "paper" in content:
        lines += ["", *_beside_the_paper(content)]
    return "\n".join(lines)


def _beside_the_paper(content: dict) -> list[str]:
    """Returns a table of images and labels per image, as published and as packed."""
    paper = content["paper"]
    lines = ["beside the paper     published           here", "              images  labels   images  labels"]
    for split, counts in content["splits"].items():
        labels = paper["labels_per_image"].get(split)
        published = f"{paper['images'][split]:,}", f"{labels:.3f}" if labels else "-"
        here = f"{counts['kept']:,}", f"{counts['labels_per_image']['mean']:.3f}"
        lines.append("  {:<9}{:>9}{:>8}{:>9}{:>8}".format(split, *published, *here))
    return [*lines, f"  labels: the mean per image; {paper['note']}"]


def statistics_in_words(counts: dict, top: int = 8) -> list[str]:
    """Returns `statistics` as lines, with the `top` most frequent labels and tags."""
    labels, tags = counts["labels_per_image"], counts["tags_per_image"]
    images = sum(labels["histogram"].values())
    lines = [f"  labels per image: mean {labels['mean']:.2f}", *histogram(labels["histogram"])]
    lines += [f"  most frequent labels: {in_words(counts['label_frequency'], top)}"]
    if counts["tag_frequency"]:
        without = tags["histogram"].get("0", 0)
        lines += [
            f"  tags per image: mean {tags['mean']:.2f}; {without / images:.1%} of the images have none"
        ]
        lines += [f"  most frequent tags: {in_words(counts['tag_frequency'], top)}"]
    return lines


def overview(dataset: records.Dataset, split: str) -> str:
    """Returns the statistics of one split as text and bars."""
    counts = statistics(dataset, split)
    sizes = ", ".join(f"{dataset.num_examples(name):,} {name}" for name in dataset.splits)
    lines = [
        f"{dataset.name}: {dataset.description}",
        f"{dataset.directory}, fingerprint {dataset.fingerprint[:16]}",
        f"{sizes} images; {len(dataset.labels)} labels; {len(dataset.tags)} tags",
        "",
        f"{split}: {counts['labels_per_image']['mean']:.2f} labels per image",
        *histogram(counts["labels_per_image"]["histogram"]),
        "",
        *_label_lines(counts["label_frequency"]),
    ]
    if dataset.tags:
        tags = counts["tags_per_image"]
        without = tags["histogram"].get("0", 0) / dataset.num_examples(split)
        top = dict(list(counts["tag_frequency"].items())[:TOP_TAGS])
        lines += ["", f"{tags['mean']:.2f} tags per image; {without:.1%} of the images have none"]
        lines += histogram(tags["histogram"])
        lines += ["", f"images with each of the {len(top)} most frequent tags", *histogram(top)]
    dropped = dataset.report().get("splits", {}).get(split, {}).get("dropped", {})
    if dropped:
        causes = in_words({cause: len(ids) for cause, ids in dropped.items()})
        lines += ["", f"left out when it was packed: {causes} (listed in {dataset.directory})"]
    return "\n".join(lines)


def _label_lines(frequency: dict[str, int]) -> list[str]:
    """Returns text bars of the labels, of many the most frequent and the rarest ones."""
    if len(frequency) <= MANY:
        return ["images with each label", *histogram(frequency)]
    names = list(frequency)
    shown = {name: frequency[name] for name in (*names[:ENDS], *names[-ENDS:])}
    return [f"images with the {ENDS} most frequent and the {ENDS} rarest labels", *histogram(shown)]


def record_in_words(dataset: records.Dataset, split: str, wanted: str) -> str:
    """Returns a description of one record.

    wanted: the id of a record of `split`, or its number, or the id of a record of another split.
    """
    image_ids, tags, labels = dataset.annotations(split)
    if wanted in image_ids:
        index = image_ids.tolist().index(wanted)
    elif wanted.isdecimal() and int(wanted) < len(image_ids):
        index = int(wanted)
    else:
        for other in dataset.splits:
            if other != split and wanted in dataset.annotations(other)[0]:
                return record_in_words(dataset, other, wanted)
        raise UserError(
            f"no record {wanted!r} in {' or '.join(dataset.splits)} of {dataset.name}: expected an image id, "
            f"or a number from 0 to {len(image_ids) - 1} in {split}"
        )
    lines = [f"record {index} of {len(image_ids):,} in {split} of {dataset.name}: {image_ids[index]}"]
    if dataset.has_images:
        data = next(dataset.read(split).skip(index).as_numpy_iterator())[records.IMAGE]
        width, height = Image.open(io.BytesIO(data)).size
        lines.append(f"  image: JPEG, {width} x {height} pixels, {len(data):,} bytes")
    lines += [f"  {name}: {list(shape)}" for name, shape in (dataset.arrays or {}).items()]
    for kind, names, present in (("labels", dataset.labels, labels), ("tags", dataset.tags, tags)):
        words = [names[i] for i in np.flatnonzero(present[index])]
        lines.append(f"  {len(words)} {kind}: {', '.join(words)}" if words else f"  no {kind}")
    return "\n".join(lines)


def sheet(dataset: records.Dataset, split: str) -> Image.Image:
    """Returns a picture of the first records; their order comes from a hash, so they are a fair sample."""
    dataset.require_images()
    images, captions = [], []
    for record in dataset.read(split).take(SHEET_IMAGES).as_numpy_iterator():
        images.append(Image.open(io.BytesIO(record[records.IMAGE])))
        runs = [
            [(names[i] + ("" if i == ids[-1] else ", "), colour) for i in ids]
            for ids, names, colour in (
                (record[records.LABELS], dataset.labels, BLACK),
                (record[records.TAGS], dataset.tags, GREY),
            )
        ]
        captions.append([run for run in runs if run])
    return contact_sheet.contact_sheet(images, captions, SHEET_COLUMNS)


def histogram(counts: Mapping[str, int]) -> list[str]:
    """Returns text bars, one line per value."""
    longest = max(counts.values())
    wide, width = max(map(len, counts)), len(f"{longest:,}")
    scale = BAR / max(longest, 1)
    return [
        f"  {value:>{wide}}  {count:>{width},}  {'█' * max(count > 0, round(scale * count))}".rstrip()
        for value, count in counts.items()
    ]


def in_words(counts: Mapping[str, int], top: int | None = None) -> str:
    """Returns counts by name as one line, the most frequent first."""
    ordered = list(_sorted_counts(counts).items())
    rest = len(ordered) - len(ordered[:top])
    words = [f"{name}: {count:,}" for name, count in ordered[:top]]
    return ", ".join(words + ([f"{rest} more"] if rest else []))


def _per_image(present: np.ndarray) -> dict:
    """Returns the mean and the histogram of the number of true values per row of `present` [N, any] bool."""
    quantities = collections.Counter(present.sum(1).tolist())
    values: Sequence[int] = range(min(quantities), max(quantities) + 1)
    return {
        "mean": round(float(present.sum(1).mean()), 4),
        "histogram": {str(value): quantities[value] for value in values},
    }


def _sorted_counts(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

"""What is in a packed data set, counted: the packer's report and the words for it."""

import collections
from collections.abc import Mapping, Sequence

import numpy as np

from msmm import records

NO_LABEL = "no label of the vocabulary"
NO_TAG = "no tag of the vocabulary"
FILTERS = (NO_LABEL, NO_TAG)  # causes of dropping that are no fault of the image
BAR = 40  # characters of the longest bar


def report(dataset: records.Dataset, builder) -> dict:
    """The content of `report.json`, from the records as written and what `builder` counted."""
    splits = {}
    for split in dataset.splits:
        splits[split] = {
            "rows": builder.num_rows[split],
            "kept": dataset.num_examples(split),
            "dropped": dict(builder.dropped[split]),
            "labels_outside_vocabulary": _sorted_counts(builder.outside[split]["labels"]),
            "tags_outside_vocabulary": builder.outside[split]["tags"].total(),
            **statistics(dataset, split),
        }
    return {
        "name": dataset.name,
        "description": dataset.description,
        "settings": {
            "resize": builder.resize,
            "max_skipped": builder.max_skipped,
            "drop_untagged": builder.drop_untagged,
        },
        "num_labels": len(dataset.labels),
        "num_tags": len(dataset.tags),
        "splits": splits,
        "checksums": dataset.checksums(),
    }


def statistics(dataset: records.Dataset, split: str) -> dict:
    """Labels and tags an image (mean, histogram), and in how many images each of them is."""
    _, tags, labels = dataset.annotations(split)
    return {
        "labels_per_image": _per_image(labels),
        "tags_per_image": _per_image(tags),
        "label_frequency": _sorted_counts(dict(zip(dataset.labels, labels.sum(0).tolist(), strict=True))),
        "tag_frequency": _sorted_counts(dict(zip(dataset.tags, tags.sum(0).tolist(), strict=True))),
    }


def summary(content: dict) -> str:
    """A packer's report in words, for people."""
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
        lines += statistics_in_words(counts)
    return "\n".join(lines)


def statistics_in_words(counts: dict, top: int = 8) -> list[str]:
    """`statistics` as lines, with the `top` most frequent labels and tags."""
    labels, tags = counts["labels_per_image"], counts["tags_per_image"]
    images = sum(labels["histogram"].values())
    lines = [f"  labels an image: mean {labels['mean']:.2f}", *histogram(labels["histogram"])]
    lines += [f"  most frequent labels: {in_words(counts['label_frequency'], top)}"]
    if counts["tag_frequency"]:
        without = tags["histogram"].get("0", 0)
        lines += [f"  tags an image: mean {tags['mean']:.2f}; {without / images:.1%} of the images have none"]
        lines += [f"  most frequent tags: {in_words(counts['tag_frequency'], top)}"]
    return lines


def histogram(counts: Mapping[str, int]) -> list[str]:
    """Text bars, one line a value."""
    longest = max(counts.values())
    wide, width = max(map(len, counts)), len(f"{longest:,}")
    scale = BAR / max(longest, 1)
    return [
        f"  {value:>{wide}}  {count:>{width},}  {'█' * max(count > 0, round(scale * count))}".rstrip()
        for value, count in counts.items()
    ]


def in_words(counts: Mapping[str, int], top: int | None = None) -> str:
    """Counts by name as one line, the most frequent first."""
    ordered = list(_sorted_counts(counts).items())
    rest = len(ordered) - len(ordered[:top])
    words = [f"{name}: {count:,}" for name, count in ordered[:top]]
    return ", ".join(words + ([f"{rest} more"] if rest else []))


def _per_image(present: np.ndarray) -> dict:
    """present [N, any] bool to the mean and the histogram of how many are true in a row."""
    quantities = collections.Counter(present.sum(1).tolist())
    values: Sequence[int] = range(min(quantities), max(quantities) + 1)
    return {
        "mean": round(float(present.sum(1).mean()), 4),
        "histogram": {str(value): quantities[value] for value in values},
    }


def _sorted_counts(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

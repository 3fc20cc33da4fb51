"""Measures the time of training and of a test image (IV-D3)."""

import contextlib
import itertools
import os
import time
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from experiments.reporting import published
from experiments.reporting.table import Row, Table
from experiments.sections.study import Section, Study
from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.files import read_json, write_json
from msmm.core.progress import ProgressBar
from msmm.data import preprocessing
from msmm.data.records import IMAGE, TAGS
from msmm.inference import model_dir
from msmm.training import model_parts
from msmm.training.stage_table import PAPER_PARTS, PAPER_STAGES

IMAGES, BATCH, WARM_UP = 192, 32, 3  # images timed, images of a batch, calls that do not count


def speed_section(study: Study, again: bool = False) -> Section:
    """Makes tables of the times on this machine and of the paper's times.

    Times measured earlier with the same weights are reported as they were, unless `again`.
    """
    times = load_or_measure_times(study, again)
    rows = [Row(name, [values]) for name, values in times["milliseconds"].items()]
    columns = ("median ms", "p10 ms", "p90 ms", "mean ms")
    paper = {"training days": published.TRAINING_DAYS, "image ms": 1000 * published.TEST_SECONDS}
    return Section(
        tables=[
            training_table(study),
            Table(
                f"Measured: time of a test image, {times['machine']}",
                rows,
                columns,
                "The complete model, warm",
                notes=[
                    f"{times['images']} images; median, 10th and 90th percentile, mean. One by one: times of "
                    f"images; in batches of {times['batch']}: times of batches, divided by their size. "
                    "Decoding is from JPEG; annotating includes resizing, the network and choosing labels."
                ],
            ),
            Table(
                "Published: IV-D3, NUS-WIDE, ResNet-101 on a Titan X",
                [Row("the paper's model", [paper])],
                tuple(paper),
                "Model",
            ),
        ]
    )


def training_table(study: Study) -> Table:
    """Makes a table of the seconds and epochs of every stage."""
    records = [{stage: run.stage_record(stage) for stage in PAPER_STAGES} for run in study.runs]

    def row_values(record: dict) -> dict[str, float]:
        speed = [epoch["train"]["images per second"] for epoch in record["history"]]
        return {
            "seconds": record["seconds"],
            "epochs": float(len(record["history"])),
            "images per second": float(np.median(speed)),
        }

    rows = [Row(stage, [row_values(seed[stage]) for seed in records]) for stage in PAPER_STAGES]
    rows.append(Row("all", [{"seconds": sum(r["seconds"] for r in seed.values())} for seed in records]))
    return Table(
        f"Measured: training time, {study.description}",
        rows,
        ("seconds", "epochs", "images per second"),
        "Stage",
        notes=[
            "Epochs with their held-out evaluation, on the machine that trained; without reading the data "
            "and without the features that frozen parts compute once."
        ],
    )


def load_or_measure_times(study: Study, again: bool) -> dict:
    """Returns milliseconds per test image by way of annotating, and the machine; cached in timing.json."""
    path = study.run.workdir / "timing" / "timing.json"
    weights = {part: model_parts.trained_hash(study.run, part) for part in PAPER_PARTS}
    if path.exists() and not again:
        with contextlib.suppress(UserError):  # a damaged file is measured again
            checksums.check_file(path, "")
            times = read_json(path)
            if times.get("weights") == weights:
                return times
    times = {"weights": weights, "machine": describe_machine(), "images": IMAGES, "batch": BATCH}
    times["milliseconds"] = _measure(study)
    write_json(path, times)
    checksums.write(path.parent, [path.name])
    return times


def describe_machine() -> str:
    """Returns the processors that TensorFlow sees, in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    details = [tf.config.experimental.get_device_details(d) for d in tf.config.list_physical_devices("GPU")]
    names = [d.get("device_name", "GPU") for d in details] or ["no GPU"]
    return ", ".join([f"{cores} CPU cores", *names])


def _measure(study: Study) -> dict[str, dict[str, float]]:
    run = study.run
    model = model_dir.load(run.directory / "model")
    records = list(itertools.islice(run.dataset.read("test").as_numpy_iterator(), IMAGES))
    records = list(itertools.islice(itertools.cycle(records), IMAGES))  # a small split more than once
    tags = [[run.dataset.tags[i] for i in record[TAGS]] for record in records]
    pixels = [_decode(record) for record in records]
    ready = [np.asarray(preprocessing.resize(p, model.image_size)) for p in pixels]
    sources = {
        "decoding included": lambda rows: [_decode(records[i]) for i in rows],
        "pixels ready": lambda rows: [ready[i] for i in rows],
    }
    times = {}
    for size, how in ((1, "one by one"), (BATCH, f"in batches of {BATCH}")):
        batches = [range(start, start + size) for start in range(0, IMAGES, size)]
        for source, images in sources.items():
            spent = []
            for rows in ProgressBar(batches[:WARM_UP] + batches, f"timing {how}", unit="batches"):
                started = time.perf_counter()
                model.annotate(images(rows), [tags[i] for i in rows])
                spent.append(1000 * (time.perf_counter() - started) / size)
            times[f"{how}, {source}"] = summarize_times(spent[WARM_UP:])
    return times


def _decode(record: dict) -> np.ndarray:
    return preprocessing.decode(record[IMAGE]).numpy()


def summarize_times(spent: Sequence[float]) -> dict[str, float]:
    """Returns the columns of a row from times in milliseconds."""
    low, median, high = np.percentile(spent, [10, 50, 90])
    return {
        "median ms": float(median),
        "p10 ms": float(low),
        "p90 ms": float(high),
        "mean ms": float(np.mean(spent)),
    }

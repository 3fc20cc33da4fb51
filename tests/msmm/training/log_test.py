"""Charts, images and label lines of stages for TensorBoard."""

import numpy as np
import pytest

from msmm.training.log import BLUE, GREEN, GREY, TrainingLog, bar_chart, label_lines


def test_tensorboard_has_the_metrics_and_images_of_a_stage(trained_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for stage in ("finetune", "quantity"):
        events = EventAccumulator(
            str(trained_run.stage_directory(stage) / "log"), {"tensors": 0, "images": 0}
        )
        events.Reload()
        tags = events.Tags()
        assert tags["graph"]
        scalars = {t for t in tags["tensors"] if t.startswith(("train/", "held-out/"))}
        held_out = {"C-F1", "I-F1", "H-F1", "mAP"} if stage == "finetune" else {"Accuracy", "MSE"}
        assert scalars == {f"held-out/{name}" for name in held_out | {"loss"}} | {
            "train/loss",
            "train/learning rate",
            "train/images per second",
        }
        assert [e.step for e in events.Tensors("train/loss")] == [1, 2]
        assert any("examples" in t for t in tags["tensors"])
        for name in ("F1 by class (%)", "AP by class (%)"):
            assert (name in tags["tensors"]) == (stage == "finetune")


def test_per_class_f1_is_charted_in_descending_order(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    names, f1 = ["dog", "a very long class name", "cat"], np.array([20.0, 0.0, 90.0])
    with TrainingLog(tmp_path) as log:
        log.per_class(3, names, f1)
    events = EventAccumulator(str(tmp_path), {"tensors": 0})
    events.Reload()
    (event,) = events.Tensors("F1 by class")
    text = event.tensor_proto.string_val[0].decode()
    assert event.step == 3 and text.index("cat | 90.00") < text.index("dog | 20.00") < text.index(
        "name | 0.00"
    )
    with TrainingLog(tmp_path / "ap") as log:
        log.per_class(3, names, np.array([20.0, np.nan, 90.0]), "AP")
    events = EventAccumulator(str(tmp_path / "ap"), {"tensors": 0})
    events.Reload()
    rows = events.Tensors("AP by class")[0].tensor_proto.string_val[0].decode().splitlines()
    assert rows == ["| class | AP (%) |", "|---|---|", "| cat | 90.00 |", "| dog | 20.00 |"]
    chart = np.asarray(bar_chart(["cat", "dog"], [90.0, 20.0])).astype(int)
    blue = (chart == [0x0B, 0x5F, 0xFF]).all(axis=2).sum(axis=1)
    assert blue.max() == pytest.approx(4.5 * blue[blue > 0].min(), rel=0.05)


def test_a_figure_that_no_class_has_is_not_charted(tmp_path):
    """No held-out image has a label."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TrainingLog(tmp_path) as log:
        for classes in (2, 900):
            log.per_class(1, [f"c{i}" for i in range(classes)], np.full(classes, np.nan), "AP")
        log.notes(["a line"])
    events = EventAccumulator(str(tmp_path), {"tensors": 0})
    events.Reload()
    assert events.Tags()["tensors"] == ["notes"]


def test_of_many_classes_the_best_and_the_worst_are_charted(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TrainingLog(tmp_path) as log:
        log.per_class(1, [f"c{i}" for i in range(900)], np.arange(900) / 9)
    events = EventAccumulator(str(tmp_path), {"tensors": 0})
    events.Reload()
    rows = events.Tensors("F1 by class")[0].tensor_proto.string_val[0].decode().splitlines()[2:]
    assert [row.split()[1] for row in rows] == [f"c{i}" for i in (*range(899, 874, -1), *range(24, -1, -1))]
    _, height, _ = events.Tensors("F1 by class (%)")[0].tensor_proto.string_val
    assert int(height) < 1200


def test_a_long_class_name_still_has_a_bar():
    chart = np.asarray(bar_chart(["word " * 100, "cat"], [90.0, 20.0])).astype(int)
    assert ((chart == [0x0B, 0x5F, 0xFF]).all(axis=2).sum(axis=1) > 0).sum() > 20


def test_label_lines_colour_right_wrong_and_missed_labels():
    names = ["a", "b", "c", "d"]
    lines = label_lines(np.array([1, 0, 1, 0], bool), np.array([1, 1, 0, 0], bool), names)
    assert lines == [[("a, ", GREEN), ("b", BLUE)], [("c", GREY)]]
    assert label_lines(np.zeros(4, bool), np.zeros(4, bool), names) == []

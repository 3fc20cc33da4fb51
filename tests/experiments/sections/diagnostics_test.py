"""Tooltips and axes of every figure, compared with an independent computation."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure as Drawing

from experiments.sections import diagnostics
from experiments.sections.diagnostics import Bin, calibration_error, confusion_matrix, reliability_bins
from experiments.sections.study import MeasuredRow, Study
from msmm.core.class_summary import ENDS
from msmm.training.stage_table import PAPER_STAGES
from msmm.training.table_predictions import predict_probabilities, predict_row
from msmm.training.table_rows import COMPLETE, TABLE_ROWS

TITLE = "{http://www.w3.org/2000/svg}title"


def tooltips(figure):
    return [title.text for title in ElementTree.fromstring(figure.picture.content).iter(TITLE)]


def dots(axes):
    """Returns (x, y, tooltip) of each dot."""
    lines = [line for line in axes.lines if line.get_marker() == "o"]
    return [(*line.get_xydata()[0], line.get_gid().removeprefix("tooltip:")) for line in lines]


def test_confusion_matrix_counts_pairs():
    truth, predicted = np.array([1, 1, 2, 3, 1]), np.array([1, 2, 2, 1, 2])
    expected = np.zeros((4, 4), int)
    for m, n in zip(truth, predicted, strict=True):
        expected[m, n] += 1
    np.testing.assert_array_equal(confusion_matrix(truth, predicted, 4), expected)


def test_quantities_figure_sums_counts_over_seeds(measured):
    run = measured.run
    rng = np.random.default_rng(0)
    chosen = [rng.random(measured.truth.shape) < 0.2 for _ in range(2)]
    fabricated = Study([run, run], {COMPLETE: MeasuredRow(chosen, [{}, {}])})
    figure = diagnostics.quantities_figure(fabricated)
    drawn = {}
    for title in tooltips(figure):
        m, n, count = map(int, re.fullmatch(r"(\d+) true, (\d+) predicted: (\d+)", title).groups())
        drawn[m, n] = count
    expected = {}
    for seed in chosen:
        for t, c in zip(measured.truth, seed, strict=True):
            expected[int(t.sum()), int(c.sum())] = expected.get((int(t.sum()), int(c.sum())), 0) + 1
    assert {cell: count for cell, count in drawn.items() if count} == expected
    diagonal = sum(count for (m, n), count in expected.items() if m == n) / sum(expected.values())
    assert f"{100 * diagonal:.2f} % lie on the diagonal" in figure.notes[0]


def test_confusion_cell_opacity_is_its_share_of_the_row():
    axes = Drawing().subplots()
    counts = np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]])
    diagnostics.draw_confusion(axes, counts, np.array([1, 2, 5]))
    shades = np.array([cell.get_alpha() for cell in axes.patches]).reshape(3, 3)
    assert shades == pytest.approx(np.array([[0.75, 0.25, 0], [0, 0, 0], [0.25, 0.25, 0.5]]))
    assert [text.get_text() for text in axes.texts] == ["3", "1", "2", "2", "4"]
    top_left, bottom_right = axes.patches[0], axes.patches[-1]
    assert axes.transData.transform(top_left.get_xy())[1] > axes.transData.transform(bottom_right.get_xy())[1]


def test_classes_figure_shows_frequency_and_f1(measured):
    run, chosen = measured.run, measured.rows[COMPLETE].chosen[0]
    expected = []
    for i, name in enumerate(run.dataset.labels):
        frequency = sum(bool(row[i]) for row in run.split("train").labels)
        correct = sum(t[i] and c[i] for t, c in zip(measured.truth, chosen, strict=True))
        labels = measured.truth[:, i].sum() + chosen[:, i].sum()
        f1 = 100 * 2 * correct / labels if labels else 0.0
        expected.append(f"{name}: {frequency} training images, F1 {f1:.2f} %")
    assert tooltips(diagnostics.f1_figure(measured)) == expected


def test_average_precision_figure_shows_the_classes_with_a_test_image(measured, monkeypatch):
    run, truth = measured.run, measured.truth
    scores = predict_probabilities(run, TABLE_ROWS[COMPLETE], "test")
    expected = []
    for i, name in enumerate(run.dataset.labels):
        at_least = [scores[:, i] >= score for score in scores[truth[:, i], i]]
        if not at_least:
            continue
        precision = 100 * np.mean([truth[kept, i].mean() for kept in at_least])
        frequency = run.split("train").labels[:, i].sum()
        expected.append(f"{name}: {frequency} training images, average precision {precision:.2f} %")
    assert tooltips(diagnostics.average_precision_figure(measured)) == expected
    one = truth & (np.arange(truth.shape[1]) == truth.sum(axis=0).argmax())
    monkeypatch.setattr(Study, "truth", one)
    assert len(tooltips(diagnostics.average_precision_figure(measured))) == 1 < len(expected)


def test_classes_figure_shows_mean_f1_and_spread_over_seeds():
    axes = Drawing().subplots()
    f1, frequency = np.array([[50.0, 0.0, 100.0], [70.0, 0.0, 90.0]]), np.array([10, 0, 200])
    diagnostics.draw_classes(axes, frequency, f1, ["a", "b", "c"])
    assert [(x, y) for x, y, _ in dots(axes)] == [(10, 60), (1, 0), (200, 95)]
    (spread,) = axes.collections
    ends = [segment[:, 1].tolist() for segment in spread.get_segments()]
    sd = 20 / 2**0.5
    assert ends[0] == pytest.approx([60 - sd, 60 + sd]) and ends[1] == [0, 0]
    assert {text.get_text() for text in axes.texts} == {"a", "b", "c"}


def test_class_names_in_the_figure_do_not_overlap():
    drawing = Drawing(figsize=(12, 6), dpi=72)
    axes = drawing.subplots()
    rng = np.random.default_rng(0)
    names = [f"class number {i}" for i in range(60)]
    diagnostics.draw_classes(axes, rng.integers(5, 300, 60), rng.random((1, 60)) * 100, names)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert 5 < len(boxes) < 60
    shrunk = [box.shrunk(0.9, 0.7) for box in boxes]
    assert not any(a.overlaps(b) for i, a in enumerate(shrunk) for b in shrunk[:i])


@pytest.mark.parametrize("at_once", [diagnostics._PAIRS, 5 * 7])
def test_reliability_bins_equal_a_plain_loop(at_once, monkeypatch):
    monkeypatch.setattr(diagnostics, "_PAIRS", at_once)
    rng = np.random.default_rng(1)
    p = np.concatenate([rng.random(500), [0.0, 1.0, 0.1, 0.3, 0.7]]).reshape(-1, 5).astype(np.float32)
    truth = rng.random(p.shape) < p**2
    bins = reliability_bins(truth, p, bins=10)
    pairs = [[] for _ in range(10)]
    for value, true in zip(p.ravel().tolist(), truth.ravel().tolist(), strict=True):
        pairs[min(int(value * 10), 9)].append((value, true))
    for bin_, expected in zip(bins, pairs, strict=True):
        assert bin_.count == len(expected)
        assert bin_.mean == pytest.approx(np.mean([v for v, _ in expected]))
        assert bin_.share == pytest.approx(np.mean([t for _, t in expected]))
    error = sum(abs(sum(t - v for v, t in expected)) for expected in pairs) / p.size
    assert calibration_error(bins) == pytest.approx(error)


def test_calibration_error_of_known_bins():
    assert calibration_error([Bin(0, 0.0, 0.0), Bin(3, 0.5, 0.25), Bin(1, 0.9, 1.0)]) == pytest.approx(
        (3 * 0.25 + 1 * 0.1) / 4
    )


def test_reliability_figure_shows_the_bins_of_the_model_probabilities(measured):
    figure = diagnostics.reliability_figure(measured)
    bins = reliability_bins(measured.truth, predict_row(measured.run, TABLE_ROWS[COMPLETE]).scores)
    filled = [b for b in bins if b.count]
    assert sum(b.count for b in filled) == measured.truth.size
    expected = [
        f"seed 0: {b.count} pairs, mean probability {b.mean:.4f}, {b.share:.4f} true" for b in filled
    ] + [f"{b.count} pairs per seed" for b in filled]
    assert tooltips(figure) == expected
    assert f"{100 * calibration_error(bins):.2f} %" in figure.notes[1]


def test_reliability_diagram_has_a_dot_and_a_bar_per_filled_bin():
    drawing = Drawing()
    bins = [Bin(0, 0.0, 0.0)] * 8 + [Bin(30, 0.85, 0.6), Bin(4, 0.95, 1.0)]
    diagnostics.draw_reliability(drawing, {0: bins})
    upper, lower = drawing.axes
    assert [(x, y) for x, y, _ in dots(upper)] == [(0.85, 0.6), (0.95, 1.0)]
    bars = [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in lower.patches]
    np.testing.assert_allclose(bars, [(0.85, 30), (0.95, 4)])


def test_learning_curves_show_the_training_history(measured):
    for figure, metric in zip(diagnostics.learning_curves(measured), ("loss", None), strict=True):
        kept = [title for title in tooltips(figure) if "is kept" in title]
        assert len(kept) == len(PAPER_STAGES)
        for title, stage in zip(kept, PAPER_STAGES, strict=True):
            record = measured.run.stage_record(stage)
            name = metric or ("Accuracy" if stage.startswith("quantity") else "H-F1")
            best = record["best_epoch"]
            value = record["history"][best - 1]["held-out"][name]
            assert title == f"seed 0: epoch {best} is kept, {name} {value:.4g}"
    for stage in PAPER_STAGES:
        axes = Drawing().subplots()
        diagnostics.draw_curves(axes, measured, stage, "loss")
        history = measured.run.stage_record(stage)["history"]
        training, held_out = [line.get_ydata().tolist() for line in axes.lines[:2]]
        assert training == [epoch["train"]["loss"] for epoch in history]
        assert held_out == [epoch["held-out"]["loss"] for epoch in history]


def test_of_many_classes_the_figure_names_the_best_and_the_worst():
    axes = Drawing().subplots()
    f1 = np.random.default_rng(0).permutation(900)[None] / 9
    names = [f"class {i}" for i in range(900)]
    diagnostics.draw_classes(axes, np.arange(900), f1, names)
    best, others = sorted(f1[0], reverse=True), axes.lines[0]
    assert len(others.get_xdata()) == 900 - 2 * ENDS
    named = [float(line.get_ydata()[0]) for line in axes.lines[1:]]
    assert named == best[:ENDS] + best[-ENDS:]
    shown = [line.get_gid().removeprefix("tooltip:").split(":")[0] for line in axes.lines[1:]]
    assert shown == [names[f1[0].tolist().index(value)] for value in named]

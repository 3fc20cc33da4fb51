"""Every figure read back from its SVG and laid beside an independent computation."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from experiments.sections import diagnostics
from experiments.sections.diagnostics import Bin, calibration_error, confusion, reliability
from experiments.sections.study import Measured, Study
from msmm.training.row_table import COMPLETE, TABLE_ROWS
from msmm.training.stages import STAGES
from msmm.training.table_rows import predict_row

SVG = "{http://www.w3.org/2000/svg}"


def marks(figure, tag):
    root = ElementTree.fromstring(figure.picture.content)
    return [(e, e.findtext(f"{SVG}title")) for e in root.iter(f"{SVG}{tag}") if e.findtext(f"{SVG}title")]


def test_confusion_counts_pairs():
    truth, said = np.array([1, 1, 2, 3, 1]), np.array([1, 2, 2, 1, 2])
    expected = np.zeros((4, 4), int)
    for t, s in zip(truth, said, strict=True):
        expected[t, s] += 1
    np.testing.assert_array_equal(confusion(truth, said, 4), expected)


def test_the_quantities_drawn_are_those_chosen_summed_over_seeds(measured):
    run = measured.run
    rng = np.random.default_rng(0)
    chosen = [rng.random(measured.truth.shape) < 0.2 for _ in range(2)]
    fabricated = Study([run, run], {COMPLETE: Measured(chosen, [{}, {}])})
    figure = diagnostics.quantities(fabricated)
    said = {}
    for _, title in marks(figure, "rect"):
        m, n, count = map(int, re.fullmatch(r"(\d+) true, (\d+) predicted: (\d+)", title).groups())
        said[m, n] = count
    expected = {}
    for seed in chosen:
        for t, c in zip(measured.truth, seed, strict=True):
            expected[int(t.sum()), int(c.sum())] = expected.get((int(t.sum()), int(c.sum())), 0) + 1
    assert {place: count for place, count in said.items() if count} == expected
    right = sum(count for (m, n), count in expected.items() if m == n) / sum(expected.values())
    assert f"{100 * right:.2f} % lie on the diagonal" in figure.notes[0]


def test_the_shade_of_a_cell_is_its_share_of_the_row(measured):
    figure = diagnostics.quantities(measured)
    rows = {}
    for cell, title in marks(figure, "rect"):
        m, _, count = re.findall(r"\d+", title)
        rows.setdefault(m, []).append((int(count), float(cell.attrib["fill-opacity"])))
    for cells in rows.values():
        total = sum(count for count, _ in cells)
        for count, shade in cells:
            assert shade == pytest.approx(count / max(1, total), abs=6e-4)


def test_the_classes_drawn_have_their_frequency_and_f1(measured):
    figure = diagnostics.classes(measured)
    run, chosen = measured.run, measured.rows[COMPLETE].chosen[0]
    dots = {title.split(":")[0]: (dot, title) for dot, title in marks(figure, "circle")}
    assert list(dots) == list(run.dataset.labels)
    xs = {}
    for i, name in enumerate(run.dataset.labels):
        frequency = sum(bool(row[i]) for row in run.split("train").labels)
        right = sum(t[i] and c[i] for t, c in zip(measured.truth, chosen, strict=True))
        both = measured.truth[:, i].sum() + chosen[:, i].sum()
        f1 = 100 * 2 * right / both if both else 0.0
        dot, title = dots[name]
        assert title == f"{name}: {frequency} training images, F1 {f1:.2f} %"
        # The area is 360 pixels high from -4 to 104 %, its top at 16.
        assert float(dot.attrib["cy"]) == pytest.approx(16 + 360 * (104 - f1) / 108, abs=0.06)
        xs[name] = (max(1, frequency), float(dot.attrib["cx"]))
    ordered = [x for _, x in sorted(xs.values())]
    assert ordered == sorted(ordered)


def test_two_seeds_give_the_mean_and_the_spread(measured):
    truth = measured.truth
    fabricated = Study([measured.run] * 2, {COMPLETE: Measured([truth, ~truth], [{}, {}])})
    figure = diagnostics.classes(fabricated)
    some = truth.any(axis=0)
    for (_, title), there in zip(marks(figure, "circle"), some, strict=True):
        assert title.endswith(f"F1 {50.0 if there else 0.0:.2f} %")
    assert figure.picture.content.count('class="spread"') == truth.shape[1]


def test_reliability_against_a_loop():
    rng = np.random.default_rng(1)
    p = np.concatenate([rng.random(500), [0.0, 1.0, 0.1, 0.3, 0.7]]).reshape(-1, 5).astype(np.float32)
    truth = rng.random(p.shape) < p**2
    found = reliability(truth, p, bins=10)
    pairs = [[] for _ in range(10)]
    for value, true in zip(p.ravel().tolist(), truth.ravel().tolist(), strict=True):
        pairs[min(int(value * 10), 9)].append((value, true))
    for one, expected in zip(found, pairs, strict=True):
        assert one.count == len(expected)
        assert one.mean == pytest.approx(np.mean([v for v, _ in expected]))
        assert one.share == pytest.approx(np.mean([t for _, t in expected]))
    error = sum(abs(sum(t - v for v, t in expected)) for expected in pairs) / p.size
    assert calibration_error(found) == pytest.approx(error)


def test_calibration_error_of_hand_made_bins():
    assert calibration_error([Bin(0, 0.0, 0.0), Bin(3, 0.5, 0.25), Bin(1, 0.9, 1.0)]) == pytest.approx(
        (3 * 0.25 + 1 * 0.1) / 4
    )


def test_the_reliability_drawn_is_that_of_the_models_probabilities(measured):
    figure = diagnostics.calibration(measured)
    bins = reliability(measured.truth, predict_row(measured.run, TABLE_ROWS[COMPLETE]).scores)
    dots = [(dot, title) for dot, title in marks(figure, "circle")]
    filled = [b for b in bins if b.count]
    assert sum(b.count for b in filled) == measured.truth.size
    for (dot, title), b in zip(dots, filled, strict=True):
        assert title == f"seed 0: {b.count} pairs, mean probability {b.mean:.4f}, {b.share:.4f} true"
        assert float(dot.attrib["cx"]) == pytest.approx(62 + 420 * b.mean, abs=0.06)
        assert float(dot.attrib["cy"]) == pytest.approx(16 + 330 * (1 - b.share), abs=0.06)
    assert f"{100 * calibration_error(bins):.2f} %" in figure.notes[1]


def test_learning_curves_are_the_history(measured):
    losses, shown = diagnostics.learning_curves(measured)
    for figure, key in ((losses, "loss"), (shown, None)):
        dots = marks(figure, "circle")
        assert len(dots) == len(STAGES)
        for (_, title), stage in zip(dots, STAGES, strict=True):
            record = measured.run.stage_record(stage)
            name = key or ("Accuracy" if stage.startswith("quantity") else "H-F1")
            best = record["best_epoch"]
            value = record["history"][best - 1]["held-out"][name]
            assert title == f"seed 0: epoch {best} is kept, {name} {value:.4g}"
    lines = [line for line, _ in marks(losses, "polyline")]
    assert len(lines) == 2 * len(STAGES)
    for stage, held_out in zip(STAGES, lines[1::2], strict=True):
        values = [epoch["held-out"]["loss"] for epoch in measured.run.stage_record(stage)["history"]]
        ys = [float(point.split(",")[1]) for point in held_out.attrib["points"].split()]
        assert len(ys) == len(values)
        assert np.argmin(ys) == np.argmax(values) and np.argmax(ys) == np.argmin(values)

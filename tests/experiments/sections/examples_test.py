import io

import numpy as np
from PIL import Image

from experiments.sections import examples
from experiments.sections.examples import BLACK, image_f1, select_images
from msmm.training.log import BLUE, GREEN, GREY
from msmm.training.table_rows import COMPLETE


def test_image_f1_equals_known_values():
    truth = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], bool)
    chosen = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]], bool)
    assert image_f1(truth, chosen).tolist() == [100, 0, 50, 0]


def test_images_are_selected_by_f1():
    f1 = np.array([50.0, 100, 0, 80, 20, 60, 40])
    ids = np.array(list("abcdefg"))
    rows = select_images(f1, ids, 2)
    values = {kind: list(f1[i]) for kind, i in rows.items()}
    assert values["best"] == [100, 80] and values["worst"] == [0, 20]
    assert values["typical"] in ([50, 40], [50, 60]), "the median is 50, and 40 and 60 have the same distance"


def test_selection_of_tied_images_is_independent_of_record_order():
    rng = np.random.default_rng(0)
    f1, ids = rng.integers(0, 4, 60) * 33.0, np.array([f"image{i}" for i in range(60)])
    order = rng.permutation(60)
    a, b = select_images(f1, ids, 5), select_images(f1[order], ids[order], 5)
    for kind in examples.KINDS:
        assert list(ids[a[kind]]) == list(ids[order][b[kind]]) and len(a[kind]) == 5
    assert sorted(ids[a["best"]]) != sorted(ids[f1 == 99])[:5], "not the first ones by name"


def test_selection_has_no_duplicates_and_supports_small_splits():
    for n in (1, 2, 4, 20):
        f1 = np.full(n, 100.0)
        rows = np.concatenate(list(select_images(f1, np.arange(n).astype(str), 4).values()))
        assert len(set(rows)) == len(rows) == min(n, 12)


def test_annotation_colours_mark_correct_wrong_and_missing_labels():
    truth, chosen = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    lines = examples._annotation(("a", "b", "c", "d"), truth, chosen, np.array([0.2, 0.1, 0.9, 0.0]))
    assert lines == [[("a, ", BLACK), ("b", BLACK)], [("c, ", BLUE), ("a", GREEN)], [("b", GREY)]]


def test_figure_6_shows_best_typical_and_worst_test_images(measured):
    figure = examples.make_figure6(measured, 4)
    sheet = Image.open(io.BytesIO(figure.picture.as_bytes()))
    assert sheet.format == "PNG" and sheet.width == 10 + 4 * 210 and sheet.height > 3 * 200
    f1 = image_f1(measured.truth, measured.rows[COMPLETE].chosen[0])
    assert f"{(f1 == 100).sum()} of {len(f1)} images" in figure.notes[1]
    assert f"median F1 {np.median(f1):.2f} %" in figure.notes[1]


def test_figure_5_of_a_study_is_drawn(measured):
    figure = examples.make_figure5(measured)
    assert Image.open(io.BytesIO(figure.picture.as_bytes())).width == 10 + 5 * 210

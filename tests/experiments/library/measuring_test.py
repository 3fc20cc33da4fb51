import json

import numpy as np
import pytest

from experiments.library import measuring

LINES = (
    {"path": "b.jpg", "labels": ["Dog"], "probabilities": {"sea": 0.2, "Dog": 0.9, "cat": 0.1}},
    {"path": "a.jpg", "labels": ["sea", "cat"], "probabilities": {"sea": 0.8, "Dog": 0.3, "cat": 0.6}},
)


@pytest.fixture
def annotations(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return measuring.read_annotations(path, ["a.jpg", "b.jpg"], ["Dog", "sea"])


def test_annotations_are_read_in_the_order_of_the_photographs(annotations):
    np.testing.assert_array_equal(annotations.chosen, [[False, True], [True, False]])
    np.testing.assert_allclose(annotations.probabilities, [[0.3, 0.8], [0.9, 0.2]])


def test_a_photograph_that_was_not_annotated_is_an_error(tmp_path):
    (tmp_path / "x.jsonl").write_text(json.dumps(LINES[0]) + "\n")
    with pytest.raises(KeyError, match=r"a\.jpg"):
        measuring.read_annotations(tmp_path / "x.jsonl", ["a.jpg"], ["Dog"])


def test_figures_are_those_of_the_chosen_labels(annotations):
    truth = measuring.truth_matrix([("dog", "sea"), ("dog",)], ["dog", "sea"])
    figures = dict(zip(measuring.COLUMNS, measuring.measure(annotations, truth), strict=True))
    assert figures["right of the written"] == 100 and figures["written of all"] == pytest.approx(200 / 3)
    assert figures["labels per photograph"] == 1 and figures["mAP"] == 100
    table = measuring.figures_table("2 photographs", {"own": list(figures.values())}, {"own": "+1.0"})
    assert table.splitlines()[-1].startswith("| own | 100.0 |") and table.endswith("| 1.0 | +1.0 |")

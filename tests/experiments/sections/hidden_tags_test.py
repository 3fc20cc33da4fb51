import importlib.util

import numpy as np
import pytest

from experiments.sections import hidden_tags
from msmm.scoring.metrics import annotation_metrics
from msmm.training import table_rows
from msmm.training.row_table import COMPLETE, TABLE_ROWS, add_counter

needs_words = pytest.mark.skipif(
    importlib.util.find_spec("wordllama") is None,
    reason="WordLlama is not installed: pip install 'msmm[words]'",
)


@needs_words
def test_hidden_tags_are_read_and_measured_as_annotate_would(trained_run, monkeypatch):
    monkeypatch.setattr(hidden_tags, "THRESHOLDS", (0.4, 0.6))
    table_rows.save_model(trained_run)
    found = hidden_tags.measured(trained_run, 0)
    assert list(found)[:2] == ["not hidden", "left out"]
    counting = add_counter(TABLE_ROWS[COMPLETE])
    tagged = trained_run.split("test").tags.any(axis=1)
    assert not tagged.all()  # those without a tag have another classifier and other estimators
    chosen, _ = table_rows.measure_row(trained_run, counting, "test", "best")
    without = add_counter(TABLE_ROWS["MS-CNN+LQP"])
    chosen[~tagged] = table_rows.measure_row(trained_run, without, "test", "best")[0][~tagged]
    expected = annotation_metrics(trained_run.split("test").labels, chosen)["H-F1"]
    assert found["not hidden"][2] == pytest.approx(expected, abs=0.01)
    shares = [found[f"nearest, {t}"][0] for t in hidden_tags.THRESHOLDS]
    assert found["left out"][0] == 0 and shares[0] > 0 and list(np.sort(shares)[::-1]) == shares
    assert [found[f"random, {t}"][0] for t in hidden_tags.THRESHOLDS] == shares

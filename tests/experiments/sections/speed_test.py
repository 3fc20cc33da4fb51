import json

import pytest

from experiments.sections import speed
from msmm.training.stage_table import PAPER_STAGES


def test_time_summary_equals_known_percentiles():
    times = speed.summarize_times([float(v) for v in range(100)] + [2575.0])
    assert times == {"median ms": 50, "p10 ms": 10, "p90 ms": 90, "mean ms": 75 - 50 / 101}


def test_training_table_contains_the_recorded_seconds_of_the_stages(measured):
    table = speed.training_table(measured)
    rows = {row.name: row.seeds[0] for row in table.rows}
    assert list(rows) == [*PAPER_STAGES, "all"]
    total = 0.0
    for stage in PAPER_STAGES:
        record = measured.run.stage_record(stage)
        assert rows[stage]["seconds"] == record["seconds"] and rows[stage]["epochs"] == 2
        total += record["seconds"]
    assert rows["all"]["seconds"] == pytest.approx(total)


@pytest.mark.slow
def test_measured_times_are_cached_until_the_weights_or_the_machine_change(measured):
    first = speed.speed_section(measured)
    path = measured.run.workdir / "timing" / "timing.json"
    kept = json.loads(path.read_text())
    rows = first.tables[1].rows
    assert [row.name for row in rows] == list(kept["milliseconds"]) and len(rows) == 4
    for row in rows:
        (times,) = row.seeds
        assert 0 < times["p10 ms"] <= times["median ms"] <= times["p90 ms"]
    assert speed.speed_section(measured).tables[1].rows == rows
    assert speed.speed_section(measured, again=True).tables[1].rows != rows
    for change in ({"weights": {}}, {"machine": "damaged"}):
        path.write_text(json.dumps(kept | change))
        assert speed.speed_section(measured).tables[1].rows != rows
    path.unlink()

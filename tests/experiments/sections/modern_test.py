"""The table of modern heads on a run with finished stages; the heads train for one epoch."""

import shutil

import numpy as np
import pytest

from experiments.reporting import report
from experiments.sections import comparison, modern
from experiments.sections.study import train_and_measure
from msmm.configs import replace_flat
from msmm.configs.scenes import Config
from msmm.quantities.fitting import fit_counting_rules
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import Predictions, choose_labels
from msmm.training import baseline_tasks, head_predictions, table_predictions
from msmm.training.run import Run
from msmm.training.table_rows import COMPLETE, TABLE_ROWS
from tests.conftest import TINY

SMALL = {f"{name}_epochs": 1 for name in ("csra", "ml_decoder", "query2label")}
SMALL |= {"query2label_width": 8, "query2label_hidden": 16}
HEADS = ("CSRA", "CSRA+Tags", "ML-Decoder", "ML-Decoder+Tags", "Query2Label", "Query2Label+Tags")


@pytest.fixture(scope="module")
def measured(trained_run, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("modern") / "run"
    shutil.copytree(trained_run.workdir, workdir)
    study = train_and_measure([Run(workdir, trained_run.dataset, replace_flat(Config(), TINY | SMALL))])
    return study, modern.modern_section(study)


@pytest.mark.slow
def test_rows_columns_and_figures_of_the_modern_table(measured):
    study, section = measured
    (table,) = section.tables
    assert [row.name for row in table.rows] == ["MS-CNN", "MS-CNN+Tags", *HEADS]
    rows = {row.name: row.seeds[0] for row in table.rows}
    run, truth = study.run, study.truth
    # A head's figures, from its scores and the paper's regressor.
    scores = baseline_tasks.predict_baseline(run, "csra+tags").scores
    top = choose_labels(Predictions(scores), k=run.config.k)
    assert rows["CSRA+Tags"]["H-F1 top 3"] == pytest.approx(annotation_metrics(truth, top)["H-F1"])
    exact = choose_labels(Predictions(scores, truth.sum(axis=1).astype(np.int32)))
    assert rows["CSRA+Tags"]["H-F1 true quantity"] == pytest.approx(annotation_metrics(truth, exact)["H-F1"])
    raw = table_predictions.predict_raw_quantity(run, TABLE_ROWS[COMPLETE])
    rules = fit_counting_rules(head_predictions.predict_held_out(run, "csra+tags"))
    ruled = choose_labels(rules.apply(1 / (1 + np.exp(-scores.astype(np.float64))), raw))
    assert rows["CSRA+Tags"]["H-F1 default rule"] == pytest.approx(annotation_metrics(truth, ruled)["H-F1"])
    assert (
        rows["CSRA+Tags"]["H-F1 default rule"]
        == head_predictions.measure_head(run, "csra+tags", "best")[1]["H-F1"]
    )
    # The paper's rows are those of Table I.
    for name in modern.PAPER:
        assert rows[name]["H-F1 top 3"] == pytest.approx(study.rows[name].metrics[0]["H-F1"])
    true = study.rows["Upper bound"].metrics[0]["H-F1"]
    assert rows["MS-CNN+Tags"]["H-F1 true quantity"] == pytest.approx(true)
    assert rows["CSRA"]["parameters"] == 128 * 24 and rows["CSRA"]["seconds"] > 0


@pytest.mark.slow
def test_claims_of_the_modern_table(measured):
    study, section = measured
    claims = [outcome.claim for outcome in section.outcomes]
    by_name = {}
    for claim in claims:
        by_name.setdefault(claim.name, []).append((claim.better, claim.worse))
    assert len(by_name["quantity pays"]) == 16 and ("CSRA", "CSRA, top 3") in by_name["quantity pays"]
    assert by_name["tags pay"][0] == ("MS-CNN+Tags", "MS-CNN") and len(by_name["tags pay"]) == 4
    assert ("CSRA+Tags", "MS-CNN+Tags") in by_name["better than the paper's model"]
    rows = {row.name: row.seeds[0] for row in section.tables[0].rows}
    for outcome in section.outcomes:
        if outcome.claim.source == "over top 3":
            row = rows[outcome.claim.better]
            assert outcome.gains[0] == pytest.approx(row["H-F1 default rule"] - row["H-F1 top 3"])
    page = study.make_report("title", [section], "command", claims_heading=modern.CLAIMS_HEADING)
    text = report.as_text(page)
    assert "Does quantity pay, do tags pay" in text and "csra_weight" in str(page.settings)


def test_no_table_of_the_paper_has_a_modern_head():
    assert not {method.title for method in comparison.BASELINES.values()} & {*HEADS}


def test_the_first_note_says_which_heads_train_a_trunk():
    assert modern.table_notes(Config(), two_trunks=False)[0].startswith("The trunk is frozen")
    changed = {"csra_trunk": "trained", "query2label_trunk": "trained", "finetune_randaugment": 5}
    note = modern.table_notes(replace_flat(Config(), changed), two_trunks=False)[0]
    assert note.startswith("csra, query2label: with a trunk of its own") and "RandAugment 5" in note

import pytest

from experiments.reporting import report
from experiments.reporting.generated_blocks import count_blocks, find_edited_blocks, rebuild_page
from experiments.reporting.rendering import Picture
from experiments.reporting.report import Figure, Report
from experiments.reporting.table import Row, Table
from msmm.core.errors import UserError
from tests.conftest import ROOT

PAGE = """# Results

Words before.

<!-- results: scenes/table1/table1.md | Measured: one_table -->
<!-- end of results -->

Words | between.

<!-- results: scenes/table1/table1.md | A figure -->
old text
<!-- end of results, sha256 0 -->
"""


@pytest.fixture
def runs(tmp_path):
    page = Report(
        "Title",
        [Table("Measured: one_table, here", [Row("a", [{"H-F1": 1.5}])], ["H-F1"], notes=["a note"])],
        figures=[Figure("A figure", Picture("dots", "three dots", "<svg/>"), ["about it"])],
    )
    report.write_report(page, tmp_path / "runs/scenes/table1", "table1")
    return tmp_path / "runs"


def test_rebuild_copies_blocks_from_the_report_and_keeps_other_lines(runs):
    page = rebuild_page(PAGE, runs)
    lines = page.text.splitlines()
    assert "| a | 1.50 |" in lines and "- a note" in lines
    assert "![three dots](scenes_table1_dots.svg)" in lines and "old text" not in lines
    assert page.pictures == {"scenes_table1_dots.svg": runs / "scenes/table1/dots.svg"}
    assert page.missing == ()
    outside = [line for line in PAGE.splitlines() if "end of results" not in line and line != "old text"]
    assert [line for line in lines if line in outside and line] == [line for line in outside if line]
    assert rebuild_page(page.text, runs) == page, "a second rebuild changes nothing"


def test_manually_edited_block_is_detected_without_the_report(runs):
    text = rebuild_page(PAGE, runs).text
    assert count_blocks(text) == 2 and find_edited_blocks(text) == []
    edited = text.replace("| a | 1.50 |", "| a | 1.60 |")
    assert find_edited_blocks(edited) == ["scenes/table1/table1.md | Measured: one_table"]
    assert len(find_edited_blocks(PAGE)) == 2


def test_missing_report_keeps_its_block_and_missing_heading_is_an_error(runs):
    page = PAGE.replace("scenes/table1/table1.md | A figure", "elsewhere/table1.md | A figure")
    rebuilt = rebuild_page(page, runs)
    assert rebuilt.missing == ("elsewhere/table1.md",) and "old text" in rebuilt.text
    with pytest.raises(UserError, match="heading that begins with 'Nothing'"):
        rebuild_page(PAGE.replace("A figure", "Nothing"), runs)


JOINED = """<!-- results: H-F1 (%)
here: scenes/table1/table1.md | Measured: one_table
there: {report} | {heading}
-->
<!-- end of results -->
"""


def test_a_block_joins_one_column_of_several_reports(runs):
    other = Report(
        "Title", [Table("Another", [Row("b", [{"H-F1": 2.5}]), Row("a", [{"H-F1": 3.5}])], ["H-F1"])]
    )
    report.write_report(other, runs / "other", "table1")
    page = rebuild_page(JOINED.format(report="other/table1.md", heading="Another"), runs)
    rows = [line for line in page.text.splitlines() if line.startswith("|")]
    assert rows == [
        "|  | here | there |",
        "| --- | ---: | ---: |",
        "| a | 1.50 | **3.50** |",
        "| b | – | 2.50 |",
    ]
    assert "| Another\n-->\n" in page.text
    assert rebuild_page(page.text, runs) == page and find_edited_blocks(page.text) == []
    assert len(find_edited_blocks(page.text.replace("2.50", "2.51"))) == 1


def test_a_joined_block_waits_for_all_its_reports_and_needs_the_column(runs):
    page = JOINED.format(report="other/table1.md", heading="Another")
    assert rebuild_page(page, runs).missing == ("other/table1.md",) and rebuild_page(page, runs).text == page
    page = JOINED.format(report="scenes/table1/table1.md", heading="Measured: one_table")
    with pytest.raises(UserError, match=r"as 'name: report \| heading'"):
        rebuild_page(page.replace("there: ", ""), runs)
    with pytest.raises(UserError, match="column 'mAP'"):
        rebuild_page(page.replace("results: H-F1 (%)", "results: mAP"), runs)


def test_documents_contain_no_manually_edited_blocks():
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        assert find_edited_blocks(path.read_text(encoding="utf-8")) == [], path

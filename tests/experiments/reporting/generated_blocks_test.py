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


def test_documents_contain_no_manually_edited_blocks():
    for path in sorted((ROOT / "docs").rglob("*.md")):
        assert find_edited_blocks(path.read_text(encoding="utf-8")) == [], path

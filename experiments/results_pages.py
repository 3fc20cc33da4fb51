"""Rebuilds the tables and figures of the documents from the reports of finished runs.

    python -m experiments.results_pages                        README.md and pages of docs/ with such blocks
    python -m experiments.results_pages --check                only compares; status 2 if a page would change
    python -m experiments.results_pages --pages=docs/research/results.md --runs=runs

A block stands between two comments of a page; the first one names its report and the beginning of a heading:

    <!-- results: scenes/table1/table1.md | Measured: the rows of Table I -->
    <!-- end of results -->

The report is a file below --runs, as `reproduce_table1` and the other commands write it. A block whose report
is missing stays as it is and is listed (status 1). Text outside of the blocks is never changed.
"""

import pathlib
import sys

from absl import flags

from experiments.reporting import generated_blocks
from msmm.core import command_line
from msmm.core.errors import UserError
from msmm.core.files import write_bytes

_PAGES = flags.DEFINE_list("pages", ["README.md", "docs"], "Markdown files, or folders of them.")
_RUNS = flags.DEFINE_string("runs", "runs", "The folder with the work directories.")
_CHECK = flags.DEFINE_boolean("check", False, "Compare and change nothing.")


def main() -> None:
    changed, missing = [], []
    for path in _list_pages():
        old = path.read_text(encoding="utf-8")
        page = generated_blocks.rebuild_page(old, pathlib.Path(_RUNS.value))
        missing += [f"{path}: {_RUNS.value}/{report} is missing" for report in page.missing]
        files = {path: page.text.encode()}
        files |= {path.parent / name: source.read_bytes() for name, source in page.pictures.items()}
        for file, content in files.items():
            if file.exists() and file.read_bytes() == content:
                continue
            changed.append(str(file))
            if not _CHECK.value:
                write_bytes(file, content)
    if _CHECK.value and changed:
        raise UserError(
            f"expected pages as the reports have them. Received: {', '.join(changed)} differ; rebuild them "
            "with python -m experiments.results_pages"
        )
    print(*[f"rebuilt {file}" for file in changed], *missing, sep="\n")
    print(f"{len(changed)} files changed, {len(missing)} blocks without a report")
    sys.exit(1 if missing else 0)


def _list_pages() -> list[pathlib.Path]:
    """Returns the pages that have blocks. Raises UserError where there is none."""
    files = []
    for path in map(pathlib.Path, _PAGES.value):
        if not path.exists():
            raise UserError(
                f"expected --pages as Markdown files or folders. Received: {path}, which is missing"
            )
        files += sorted(path.rglob("*.md")) if path.is_dir() else [path]
    pages = [path for path in files if generated_blocks.count_blocks(path.read_text(encoding="utf-8"))]
    if not pages:
        raise UserError(
            f"expected a page with a line <!-- results: … --> in {', '.join(_PAGES.value)}. Received: none"
        )
    return pages


if __name__ == "__main__":
    command_line.run(main)

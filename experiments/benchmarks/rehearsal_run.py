"""Runs the steps of a rehearsal, records what each cost, and makes their table."""

import csv
import io
import json
import pathlib
import random
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence

from experiments.benchmarks.measuring import describe_machine, markdown_table
from experiments.benchmarks.rehearsal_steps import TREE, Step, kept_rows, log_path
from experiments.benchmarks.watching import Cost, disk_use, run_watched
from msmm.core.errors import UserError
from msmm.core.files import read_json, write_bytes, write_json
from msmm.core.progress import ProgressBar, write_line

KILLED = "killed"  # subfolder of the repetition with kills
NEEDED = ("tree", "pack")  # without them no later step can run
COLUMNS = ("step", "rows", "s", "core s", "rows/s", "peak MiB", "own MiB", "disk MiB", "files")
KILL_COLUMNS = ("killed after s", "then s", "same result")
GROWTH_COLUMNS = ("core s per row", "own memory")


class Rehearsal:
    """A rehearsal in a folder: finished steps are recorded in steps.json and not repeated.

    Args:
        folder: of everything.
        identity: rows, seed and the like; raises UserError where the folder is one of another rehearsal.
        memory: own memory at which a step is ended, MiB.
    """

    def __init__(self, folder: pathlib.Path, identity: dict, memory: float):
        self.folder, self.identity, self.memory = folder, identity, memory
        self._path = folder / "steps.json"
        if not self._path.exists():
            write_json(self._path, {"identity": identity, "steps": {}, "kills": {}})
        content = read_json(self._path, f"delete {folder}, and begin again")
        if content["identity"] != identity:
            raise UserError(
                f"{folder} has a rehearsal of {content['identity']}, not of {identity}: choose another "
                "--folder, or delete that one"
            )
        self.steps: dict[str, dict] = content["steps"]
        self.kills: dict[str, dict] = content["kills"]

    def run(self, steps: Sequence[Step], killed_steps: Sequence[Step] = ()) -> None:
        """Runs every step that has not finished; of each in `killed_steps` also its repetition with a kill.

        Prints the row of a step as soon as it has ended.
        """
        again = {step.name: step for step in killed_steps}
        with ProgressBar(description="rehearsal", total=len(steps), unit="steps", where=self.folder) as bar:
            for step in steps:
                bar.note(step.name)
                if self._is_missing(self.steps, step.name):
                    self._keep(self.steps, step.name, self._measure(step))
                done = self.steps[step.name]["status"] == 0
                if done and step.name in again and self._is_missing(self.kills, step.name):
                    self._keep(self.kills, step.name, self._kill(again[step.name], step))
                write_line(_as_text(self._row(step)))
                if step.name in NEEDED and self.steps[step.name]["status"] != 0:
                    break
                bar.update()

    def failed(self, steps: Sequence[Step]) -> list[str]:
        """Returns a sentence for each step that failed or was never reached."""
        lines = []
        for step in steps:
            record = self.steps.get(step.name, {"status": "not reached"})
            if record["status"] != 0:
                log = log_path(self.folder, step.name).with_suffix(".err")
                lines.append(f"{step.name}: {record['status']}; see {log}")
            elif self.kills.get(step.name, {}).get("status", 0) != 0:
                log = log_path(self.folder / KILLED, step.name).with_suffix(".err")
                lines.append(f"{step.name}, after a kill: {self.kills[step.name]['status']}; see {log}")
        return lines

    def write_tables(self, steps: Sequence[Step], smaller: "Rehearsal | None" = None) -> str:
        """Writes table.md and table.csv, and returns the Markdown.

        smaller: a rehearsal with fewer rows, beside which the growth of each step is shown.
        """
        columns = [*COLUMNS, *(KILL_COLUMNS if self.kills else ()), *(GROWTH_COLUMNS if smaller else ())]
        steps = [step for step in steps if step.name in self.steps]
        rows = [[*self._row(step), *self._growth(step, smaller)] for step in steps]
        head = f"{describe_machine('tensorflow', 'keras')}\n\n{json.dumps(self.identity)}\n\n"
        text = head + markdown_table(columns, rows) + "\n"
        if smaller:
            text += f"\nGrowth: this rehearsal divided by the one of {smaller.identity['rows']:,} rows.\n"
        write_bytes(self.folder / "table.md", text.encode())
        file = io.StringIO()
        csv.writer(file).writerows([columns, *([cell.replace(",", "") for cell in row] for row in rows)])
        write_bytes(self.folder / "table.csv", file.getvalue().encode())
        return text

    def _measure(self, step: Step) -> dict:
        """Runs a step in a process of its own and returns its record."""
        places = _places(step, self.folder)
        before = disk_use(*places)
        cost = self._run(step, self.folder)
        size, files = (now - then for now, then in zip(disk_use(*places), before, strict=True))
        rows = self.identity["rows"]
        if step.rows != "all":
            rows = kept_rows(self.folder).get(step.rows, 0)
        return {**vars(cost), "disk": size / 2**20, "files": files, "rows": rows}

    def _kill(self, step: Step, undisturbed: Step) -> dict:
        """Repeats a step, kills it at a random moment, lets it go on, and compares what both made."""
        folder, seconds = self.folder / KILLED, self.steps[step.name]["seconds"]
        moment = random.Random(f"{self.identity['seed']} {step.name}").uniform(0.05, 0.95) * seconds
        first = self._run(step, folder, kill_after=moment)
        over = first.status == 0  # before its moment
        then, same = first if over else self._run(step, folder), None
        if not over and then.status == 0 and step.result and undisturbed.result:
            same = step.result(folder) == undisturbed.result(self.folder)
        if step.name == "tree" and then.status == 0:
            shutil.rmtree(folder / TREE)  # later steps read the other one
        return {
            "status": then.status,
            "after": None if over else moment,
            "seconds": then.seconds,
            "same": same,
        }

    def _run(self, step: Step, folder: pathlib.Path, kill_after: float | None = None) -> Cost:
        command = [sys.executable, "-m", *step.command]
        return run_watched(command, log_path(folder, step.name), kill_after, self.memory)

    @staticmethod
    def _is_missing(records: Mapping[str, dict], name: str) -> bool:
        """Returns whether a step has not been run, or has failed."""
        return name not in records or records[name]["status"] != 0

    def _keep(self, records: dict, name: str, record: dict) -> None:
        records[name] = record
        write_json(self._path, {"identity": self.identity, "steps": self.steps, "kills": self.kills})

    def _row(self, step: Step) -> list[str]:
        """Returns a row of the table, as `COLUMNS` and, where steps were killed, `KILL_COLUMNS`."""
        record = self.steps[step.name]
        name = step.name if record["status"] == 0 else f"{step.name} (failed: {record['status']})"
        numbers = [record["rows"], record["seconds"], record["core_seconds"]]
        numbers += [record["rows"] / record["seconds"], record["peak"], record["own"]]
        cells = [name, *map(_number, numbers), _number(record["disk"]), f"{record['files']:,}"]
        if not self.kills:
            return cells
        kill = self.kills.get(step.name, {"after": None, "seconds": 0, "same": None})
        if kill["after"] is None:
            return [*cells, "-", "-", "-"]
        same = {True: "yes", False: "NO", None: "-"}[kill["same"]]
        return [*cells, _number(kill["after"]), _number(kill["seconds"]), same]

    def _growth(self, step: Step, smaller: "Rehearsal | None") -> list[str]:
        """Returns core seconds per row and own memory, as multiples of a smaller rehearsal's.

        Other work on the machine hardly changes core seconds. Above 1, a step grows faster than the rows.
        """
        if not smaller:
            return []
        here, there = self.steps[step.name], smaller.steps.get(step.name)
        if not there or here["status"] != 0 or there["status"] != 0:
            return ["-", "-"]
        per_row: Callable[[dict], float] = lambda record: record["core_seconds"] / record["rows"]  # noqa: E731
        return [f"× {per_row(here) / per_row(there):.2f}", f"× {here['own'] / there['own']:.2f}"]


def _places(step: Step, folder: pathlib.Path) -> tuple:
    """Returns the arguments of `disk_use`: the raw files are many, and only one step changes them."""
    return (folder / TREE, ()) if step.name == "tree" else (folder, (TREE, KILLED, "logs"))


def _number(value: float) -> str:
    return f"{value:,.1f}" if abs(value) < 100 and value != int(value) else f"{value:,.0f}"


def _as_text(cells: Sequence[str]) -> str:
    """Returns a row for the terminal."""
    return f"{cells[0]:<24}" + "".join(f"{cell:>12}" for cell in cells[1:])

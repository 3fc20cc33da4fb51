"""The decisions of a review, in a file of JSON lines in the reviewed folder.

Lines are only appended, and are on the disk before a decision is acknowledged. Each has the whole state of
one photograph, so that the last line of a photograph counts. The file may have come with its folder from
elsewhere: lines of places outside the folder do not count.

    format    1
    action    number of the action; a decision on many photographs has a line for each, of one number
    undoes    number of the action that this one takes back; only of an undo
    photo     path below the folder, with /
    time      UTC
    complete  whether the photograph was reviewed as a whole: it has no other keywords than these
    accepted  keywords that the person accepted or added
    kept      keywords that the photograph had before, and that the person left as they are
    rejected  keywords that the photograph does not show: proposals struck, and own keywords struck
    model     the model whose proposals were reviewed
    before    what msmm had in the sidecar before the action (`msmm.photos.xmp_record`); an undo restores it
    found     what msmm had in the sidecar before an undo; only of an undo
"""

import codecs
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msmm.core.errors import UserError
from msmm.core.files import add_path_to_errors, is_at, lock
from msmm.photos.xmp_record import Record

FILE = "msmm_review.jsonl"
FORMAT = 1
_LISTS = ("accepted", "kept", "rejected")


@dataclasses.dataclass(frozen=True)
class Decision:
    """The state of one photograph; see the module. A blank one means that nothing is decided."""

    complete: bool = False
    accepted: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Change:
    """A new decision on one photograph.

    Attributes:
      photo: its path below the folder.
      decision: the new state.
      before: the record in its sidecar before; of an undo, the one that it restores.
      found: of an undo, the record in the sidecar before it.
    """

    photo: str
    decision: Decision
    before: Record
    found: Record | None = None


@dataclasses.dataclass
class Action:
    """An action that can be undone: for each photograph, the decision and the record before it."""

    number: int
    before: list[tuple[str, Decision, Record]] = dataclasses.field(default_factory=list)


def read_decisions(path) -> dict[str, Decision]:
    """Returns the decision on each photograph, by its path below the folder of the file.

    The beginning of a line at the end is left out: it is of a process that was killed. A whole line without
    its end counts, and blank lines and marks of editors do not matter.

    Raises:
      UserError: a line is damaged or of a later version.
    """
    dated = read_dated_decisions(path)
    return {photo: decision for photo, (_, decision) in dated.items() if decision != Decision()}


def read_dated_decisions(path) -> dict[str, tuple[str, Decision]]:
    """Returns the time (ISO 8601) and the decision of each photograph, blank where it was undone.

    Raises the same as `read_decisions`.
    """
    rows = _read_rows(pathlib.Path(path))
    return {row["photo"]: (row["time"], _decision_of(row)) for row, _ in rows if _is_below(row["photo"])}


def _read_rows(path: pathlib.Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yields the rows of a file, and where each ends in bytes."""
    end = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(codecs.BOM_UTF8).strip()
            if not line.endswith(b"\n") and not _is_whole(text):
                return
            end += len(line)
            if text:
                yield _parse(text, f"{path}:{number}"), end


def _is_below(name: str) -> bool:
    """Returns whether a path leads to a place below the folder, links apart."""
    return not os.path.isabs(name) and os.path.normpath(name).split(os.sep)[0] not in (os.pardir, os.curdir)


def _is_whole(line: bytes) -> bool:
    """Returns whether a line without its end, by an editor or a killed process, is a whole one."""
    with contextlib.suppress(ValueError, RecursionError):
        return isinstance(json.loads(line), dict)
    return False


def _parse(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if row["format"] > FORMAT:
            raise UserError(f"{place} is of a later version of msmm: install that one")
        lists = [row[name] for name in _LISTS]
        texts = [row["photo"], row["time"], *(word for words in lists for word in words)]
        if not all(isinstance(text, str) for text in texts) or not isinstance(row["complete"], bool):
            raise ValueError
        row["action"] = int(row["action"])
        for record in (row["before"], row.get("found", {})):
            Record.from_json(record)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{place} is damaged: mend or delete the line") from None
    return row


def _decision_of(row: Mapping[str, Any]) -> Decision:
    return Decision(row["complete"], *(tuple(row[name]) for name in _LISTS))


class DecisionLog:
    """The decisions of a folder, open to add to; no other process can open them meanwhile.

    Attributes:
      decisions: the state of each photograph that has one, by its path below the folder.
      last_photo: the photograph of the last action, or "".
      last_rows: the lines of the last action.
    """

    def __init__(self, folder, model: str):
        """Opens the file, which is made with the first decision.

        Args:
          folder: the folder under review.
          model: the name of the model, for the lines.

        Raises:
          UserError: another process has opened it, or a line is damaged.
        """
        self._path, self._model = pathlib.Path(folder, FILE), model
        self.decisions: dict[str, Decision] = {}
        self.last_photo, self.last_rows = "", []
        self._history: list[Action] = []
        self._numbers = self._size = 0
        existed = self._path.exists()
        # Without a buffer, an error leaves nothing behind.
        self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115 - closed by `close`
        try:
            if lock(self._file.fileno()) is False or not is_at(self._file, self._path):
                raise UserError(f"another process reviews {folder}: wait for it, or end it")
            for row, end in _read_rows(self._path):
                if _is_below(row["photo"]):
                    self._replay(row)
                self._size = end
            self._file.truncate(self._size)  # what a killed process has left
            if self._size and not self._path.read_bytes().endswith(b"\n"):  # as an editor left it
                self._size += self._file.write(b"\n")
        except BaseException:
            self._file.close()
            raise
        if not existed:
            _sync_folder(self._path.parent)

    def close(self) -> None:
        """Closes the file; one that has no decision is deleted."""
        if not self._size and is_at(self._file, self._path):
            self._path.unlink()
        self._file.close()

    def _replay(self, row: dict[str, Any]) -> None:
        photo, before = row["photo"], Record.from_json(row["before"])
        if row["action"] != self._numbers:
            self._numbers, self.last_rows = row["action"], []
            if "undoes" in row:
                self._history = [a for a in self._history if a.number != row["undoes"]]
            else:
                self._history.append(Action(row["action"]))
        if "undoes" not in row:
            self._history[-1].before.append((photo, self.decisions.get(photo, Decision()), before))
        self._set(photo, _decision_of(row))
        self.last_rows.append(row)
        self.last_photo = photo

    def _set(self, photo: str, decision: Decision) -> None:
        if decision == Decision():
            self.decisions.pop(photo, None)
        else:
            self.decisions[photo] = decision

    @property
    def can_undo(self) -> bool:
        """Returns whether there is an action to undo."""
        return bool(self._history)

    def find_undoable(self) -> Action | None:
        """Returns the last action that is not undone."""
        return self._history[-1] if self._history else None

    def append(self, changes: Iterable[Change], undoes: int | None = None) -> None:
        """Adds an action: its lines are on the disk when this returns, all or, on an error, none.

        Args:
          changes: the new state of each photograph.
          undoes: the number of the action that this one takes back.

        Raises:
          OSError: the file cannot be written, for a full disk for example.
        """
        time = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        rows = []
        for change in changes:
            row: dict[str, Any] = {"format": FORMAT, "action": self._numbers + 1}
            row |= {} if undoes is None else {"undoes": undoes}
            row |= {"photo": change.photo, "time": time, **dataclasses.asdict(change.decision)}
            row |= {"model": self._model, "before": change.before.to_json()}
            rows.append(row if change.found is None else row | {"found": change.found.to_json()})
        # ASCII, so that names that are no Unicode survive.
        data = b"".join(json.dumps(row).encode("ascii") + b"\n" for row in rows)
        with add_path_to_errors(self._path):
            try:
                self._write(data)
                os.fsync(self._file.fileno())
            except OSError:
                os.ftruncate(self._file.fileno(), self._size)
                raise
        self._size += len(data)
        for row in rows:
            self._replay(json.loads(json.dumps(row)))

    def _write(self, data: bytes) -> None:
        while data:
            data = data[self._file.write(data) :]


def _sync_folder(folder: pathlib.Path) -> None:
    """Writes the name of a new file to the disk, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)

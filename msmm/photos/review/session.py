"""A review of a folder: what a person decides goes into the decisions' file and into XMP sidecars.

An action is acknowledged when its lines are in the file and its sidecars are written, in that order: after a
kill between the two, the next session writes those sidecars of the last action that are still as before it.
"""

import dataclasses
import functools
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from msmm.core.errors import UserError
from msmm.core.text import normalise_label, normalise_tag, split_joined
from msmm.inference.model import Model
from msmm.photos import batches, finding, sidecars
from msmm.photos.annotation_lines import escape_unprintable
from msmm.photos.review.decisions import Change, Decision, DecisionLog
from msmm.photos.review.proposals import Proposal, Proposer
from msmm.photos.xmp import clean
from msmm.photos.xmp_record import Record

MAX_KEYWORDS = 500  # of a photograph
MAX_KEYWORD = 200  # characters


# Two keywords are the same if this is; a grid asks it of every keyword in the folder.
key_of = functools.lru_cache(maxsize=1 << 16)(normalise_tag)


class Refused(Exception):
    """Raised for a request that cannot be done; the message is for the person."""


class Session:
    """A review of the photographs of a folder.

    Attributes:
      folder: its real path.
      paths, names: the photographs, and their paths below the folder, in the order of the folder.
      proposer: the proposals.
      left_out: what was left out of the folder, in words, or "".
    """

    def __init__(self, folder: str, model: Model, num_workers: int | None = None):
        """Finds the photographs and opens the decisions.

        Args:
          folder: the folder to review.
          model: a loaded model.
          num_workers: processes that decode, by default one a core.

        Raises:
          UserError: the folder has no photographs, or another process reviews it.
        """
        self.folder, self.model = os.path.realpath(folder), model
        finder = finding.Finder([self.folder])
        found = [path for path, cause in finder if not cause and self._is_inside(path)]
        self.left_out = finder.describe_left_out()
        if not found:
            raise UserError(f"no photographs in {folder}{finder.describe_left_out(' (', ')')}")
        self.paths = found
        self.names = [os.path.relpath(path, self.folder).replace(os.sep, "/") for path in found]
        self._indices = {name: index for index, name in enumerate(self.names)}
        self._model_name = batches.name_annotator(model)
        self._lock = threading.Lock()  # one action at a time
        self.proposer = Proposer(model, self.paths, num_workers)
        self._log = DecisionLog(self.folder, self._model_name)
        try:
            self._finish_last_action()
        except BaseException:
            self._log.close()
            raise

    def start(self) -> None:
        """Starts computing proposals: of what is not reviewed yet first, from the first photograph on."""
        first, count = self.find_start(), len(self.paths)
        order = sorted(range(count), key=lambda i: (self.decision(i).complete, (i - first) % count))
        self.proposer.start(order)

    def _is_inside(self, path: str) -> bool:
        """Returns whether a file is in the folder, and not only a link to another place."""
        return os.path.realpath(path).startswith(self.folder.rstrip(os.sep) + os.sep)

    def _find(self, name: str) -> str | None:
        """Returns the file of a line of the decisions, or None where the folder has no such file."""
        path = os.path.join(self.folder, name)
        return path if os.path.isfile(path) and self._is_inside(path) else None

    def close(self) -> None:
        """Ends the session; an action that is at work is finished first."""
        self.proposer.stop()
        with self._lock:
            self._log.close()

    def decision(self, index: int) -> Decision:
        """Returns the decision on a photograph, blank where there is none."""
        return self._log.decisions.get(self.names[index], Decision())

    @property
    def num_complete(self) -> int:
        """The number of photographs that were reviewed as a whole."""
        return sum(self.decision(index).complete for index in range(len(self.paths)))

    @property
    def can_undo(self) -> bool:
        """Returns whether there is an action to undo."""
        return self._log.can_undo

    def find_start(self) -> int:
        """Returns the photograph to begin with: the first from the last action on that is not reviewed."""
        last, count = self._indices.get(self._log.last_photo, 0), len(self.paths)
        rounds = ((last + step) % count for step in range(count))
        return next((index for index in rounds if self._is_open(index)), last)

    def _is_open(self, index: int) -> bool:
        """Returns whether a photograph waits for its review, as far as is known."""
        proposal = self.proposer.proposals[index]
        return not self.decision(index).complete and not (proposal and proposal.cause)

    def proposal(self, index: int) -> Proposal:
        """Returns the proposal of a photograph. Raises Refused where there is none."""
        proposal = self.proposer.proposals[index]
        if proposal is None:
            raise Refused("its keywords are not computed yet: wait a moment")
        if proposal.cause:
            raise Refused(f"this photograph cannot be reviewed: {proposal.cause}")
        return proposal

    def own_keywords(self, index: int) -> list[str]:
        """Returns the keywords that a photograph has besides those of msmm and of its review."""
        accepted = set(map(key_of, self.decision(index).accepted))
        return [word for word in self.proposal(index).own if key_of(word) not in accepted]

    def decide(self, index: int, keywords: Sequence[str], rejected: Sequence[str]) -> list[str]:
        """Completes the review of a photograph: it has these keywords and no other.

        Args:
          index: of the photograph.
          keywords: all of its keywords, its own that are kept among them.
          rejected: keywords that were struck.

        Returns:
          Warnings for the person.

        Raises:
          Refused: see `proposal`; or a keyword is too long that the photograph did not have.
        """
        with self._lock:
            own = self.own_keywords(index)
            theirs = _keys(own) | _keys(self.decision(index).rejected)  # other programs write long ones
            struck = _distinct(rejected, _keys(keywords), theirs)
            kept = [word for word in own if key_of(word) not in _keys(struck)]
            accepted = _distinct(keywords, _keys(own) | _keys(struck))
            return self._act([(index, Decision(True, tuple(accepted), tuple(kept), tuple(struck)))])

    def decide_label(self, label: str, accept: bool, indices: Iterable[int]) -> list[str]:
        """Accepts or rejects one keyword for many photographs; their other keywords stay undecided.

        Returns and raises the same as `decide`.
        """
        with self._lock:
            return self._act(
                [(index, self._with_label(index, label, accept)) for index in dict.fromkeys(indices)]
            )

    def _with_label(self, index: int, label: str, accept: bool) -> Decision:
        before, own = self.decision(index), self.own_keywords(index)
        key = key_of(label)
        accepted = [word for word in before.accepted if key_of(word) != key]
        rejected = [word for word in before.rejected if key_of(word) != key]
        kept = [word for word in before.kept if key_of(word) != key]
        if not accept:
            rejected += _distinct([label], set())
        elif key in _keys(own):
            kept += [word for word in own if key_of(word) == key]
        else:
            accepted += _distinct([label], set())
        return Decision(before.complete, tuple(accepted), tuple(kept), tuple(rejected))

    def undo(self) -> tuple[int | None, list[str]]:
        """Takes the last action back, and returns a photograph of it and warnings. Raises Refused."""
        with self._lock:
            action = self._log.find_undoable()
            if action is None:
                raise Refused("there is nothing to undo")
            paths = [self._find(photo) for photo, *_ in action.before]
            found = [sidecars.read_record(path) if path else Record() for path in paths]
            changes = [Change(*before, now) for before, now in zip(action.before, found, strict=True)]
            self._log.append(changes, undoes=action.number)
            warnings = self._write_sidecars()
            known = [self._indices[name] for name, *_ in action.before if name in self._indices]
            return (known[0] if known else None), warnings

    def _act(self, decisions: Sequence[tuple[int, Decision]]) -> list[str]:
        """Carries an action out: appends its lines, then writes its sidecars. Returns warnings."""
        changes = [
            Change(self.names[index], decision, sidecars.read_record(self.paths[index]))
            for index, decision in decisions
        ]
        if not changes:
            raise Refused("no photograph is selected")
        self._log.append(changes)
        return self._write_sidecars()

    def _finish_last_action(self) -> None:
        """Writes those sidecars of the last action that a killed process has not written."""
        for warning in self._write_sidecars(_is_unwritten):
            print(warning, flush=True)

    def _write_sidecars(self, is_wanted: Callable[..., bool] = lambda *_: True) -> list[str]:
        """Writes the sidecars of the last action in the file; returns why some were not written.

        is_wanted: returns whether to write a sidecar, given the line, the record and the change of it.
        """
        warnings = []
        action = self._log.find_undoable()
        earlier = {photo: before for photo, before, _ in action.before} if action else {}
        for row in self._log.last_rows:
            path = self._find(row["photo"])
            if path is None:
                continue
            decision = self._log.decisions.get(row["photo"], Decision())
            before = Record.from_json(row["before"])
            decided = self._change(decision, earlier.get(row["photo"], Decision()))
            change = (lambda record, before=before: before) if "undoes" in row else decided
            if not is_wanted(row, sidecars.read_record(path), change):
                continue
            try:
                sidecars.change_record(path, self._embedded(row["photo"], path, decision), change, key_of)
            except sidecars.CannotWrite as error:
                name = escape_unprintable(row["photo"])
                warnings.append(f"{name}: kept in the review, but {error}")
        return warnings

    def _embedded(self, name: str, path: str, decision: Decision) -> tuple[str, ...]:
        """Returns the keywords in the photograph itself, with which a new list in its sidecar begins."""
        if not decision.accepted:
            return ()  # no list is needed
        proposal = self.proposer.proposals[self._indices[name]] if name in self._indices else None
        return proposal.embedded if proposal else _read_embedded(path)

    def _change(self, decision: Decision, earlier: Decision) -> Callable[[Record], Record]:
        """Returns the change of a sidecar's record that a decision makes which replaces an earlier one.

        What else is rejected there, by reviews of folders above or below, stays so if it is not decided anew.
        """
        rejected, accepted = _keys(decision.rejected), _keys(decision.accepted)
        decided = rejected | accepted | _keys((*decision.kept, *earlier.rejected))

        def change(record: Record) -> Record:
            stays = accepted if decision.complete else accepted | (_keys(record.confirmed) - rejected)
            confirmed = [word for word in record.confirmed if key_of(word) in stays]
            added = [w for w in record.added if not decision.complete and key_of(w) not in rejected]
            others = [word for word in record.rejected if key_of(word) not in decided]
            left = {key_of(word.replace("|", " ")) for word in added}
            return dataclasses.replace(
                record,
                added=tuple(added),
                paths=tuple(p for p in record.paths if key_of(p.rpartition("|")[2]) in left),
                confirmed=(*confirmed, *_distinct(decision.accepted, _keys(confirmed), accepted)),
                rejected=(*others, *decision.rejected),
                model=(record.model or self._model_name) if decision.complete else record.model,
            )

        return change


def _is_unwritten(row: Mapping[str, Any], record: Record, change: Callable[[Record], Record]) -> bool:
    """Returns whether an action has left a sidecar as it was, given the record in it now.

    To write a finished action again would take back what came after it: by `annotate`, or by the person in
    another program. So a sidecar is left alone where the record cannot tell: where the action does not change
    it, and of an undo by a version that did not note what it found.
    """
    found = row.get("found") if "undoes" in row else row["before"]
    return found is not None and record == Record.from_json(found) and change(record) != record


def _read_embedded(path: str) -> tuple[str, ...]:
    """Reads the keywords in a photograph whose proposal is not computed."""
    from msmm.photos import reading

    photo = reading.prepare_photo(path, reading.Preparation(32, to_sidecar=True, overwrite=True))
    return tuple(photo.embedded) if isinstance(photo, reading.Photo) else ()


def _keys(words: Iterable[str]) -> set[str]:
    return set(map(key_of, words))


def _distinct(words: Iterable[str], excluded: set[str], of_any_length: Collection[str] = ()) -> list[str]:
    """Returns cleaned keywords, each once, without `excluded` keys.

    Raises Refused for too many, and for one that is too long and whose key is not `of_any_length`.
    """
    kept: dict[str, str] = {}
    for word in (word for joined in words for word in split_joined(joined)):
        name = normalise_label(clean(word))
        key = key_of(name)
        if not key or key in excluded:
            continue
        if len(name) > MAX_KEYWORD and key not in of_any_length:
            raise Refused(f"expected keywords of at most {MAX_KEYWORD} characters")
        kept.setdefault(key, name)
    if len(kept) > MAX_KEYWORDS:
        raise Refused(f"expected at most {MAX_KEYWORDS} keywords of a photograph")
    return list(kept.values())

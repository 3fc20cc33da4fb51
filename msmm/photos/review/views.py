"""The content of the page as JSON: one photograph, the grid of a keyword, the progress."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from msmm.photos.annotation_lines import escape_unprintable
from msmm.photos.review.session import Session, key_of
from msmm.scoring.uncertainty import order_by_uncertainty

MORE = 8  # further labels to choose from
LEAST = 0.02  # probability of these
ORDERS = ("surest", "unsure", "folder")
SHOWN = ("proposed", "undecided", "accepted")


def show_progress(session: Session) -> dict[str, Any]:
    """Returns how many photographs are reviewed, and what can be done."""
    proposals = session.proposer.proposals
    return {
        "complete": session.num_complete,
        "ready": session.proposer.num_ready,
        "unreadable": sum(bool(proposal and proposal.cause) for proposal in proposals),
        "failure": session.proposer.failure,
        "undo": session.can_undo,
    }


def show_folder(session: Session) -> dict[str, Any]:
    """Returns what does not change while the page is open, and the progress."""
    info = session.model.info
    return {
        "folder": escape_unprintable(os.path.basename(session.folder) or session.folder),
        "photos": len(session.paths),
        "labels": list(session.model.labels),
        "model": escape_unprintable(str(info.get("title") or info.get("dataset") or "")),
        "start": session.find_start(),
        "left_out": session.left_out,
        "progress": show_progress(session),
    }


def show_photo(session: Session, index: int) -> dict[str, Any]:
    """Returns the keywords of a photograph and their states.

    Each keyword has a "source": "own" (the photograph's), "proposed", "annotated" (by `annotate`, in the
    sidecar) or "added" (by the person); "on" is whether it is kept.
    """
    shown: dict[str, Any] = {"index": index, "name": escape_unprintable(session.names[index])}
    proposal, decision = session.proposer.proposals[index], session.decision(index)
    shown["ready"], shown["complete"] = proposal is not None, decision.complete
    if proposal is None or proposal.cause:
        return shown | {"cause": proposal.cause if proposal else "", "keywords": [], "more": []}
    chances = dict(zip(map(key_of, session.model.labels), proposal.probabilities, strict=True))
    own, off = session.own_keywords(index), set(map(key_of, decision.rejected))
    proposed = {key_of(label) for label in proposal.labels}
    listed: dict[str, dict[str, Any]] = {}

    def put(words: Sequence[str], source: str) -> None:
        for word in words:
            key = key_of(word)
            chance = float(chances[key]) if key in chances else None
            entry = {"label": word, "probability": chance, "source": source}
            listed.setdefault(key, entry | {"on": key not in off})

    put(own, "own")
    for word in (*decision.accepted, *proposal.confirmed):
        put([word], "proposed" if key_of(word) in proposed else "added")
    if not decision.complete:
        put(proposal.labels, "proposed")
        put(proposal.machine, "annotated")
    put(decision.rejected, "proposed")
    order = np.argsort(-proposal.probabilities.astype(np.float32), kind="stable")
    labels = [session.model.labels[i] for i in order if proposal.probabilities[i] >= LEAST]
    more = [label for label in labels if key_of(label) not in listed][:MORE]
    return shown | {
        "cause": "",
        "keywords": list(listed.values()),
        "more": [{"label": label, "probability": float(chances[key_of(label)])} for label in more],
        "problems": list(proposal.problems),
    }


def order_photos(session: Session, order: str) -> list[int]:
    """Returns the photographs that are not reviewed: the least sure first ("unsure"), or as in the folder."""
    indices = [i for i in range(len(session.paths)) if not session.decision(i).complete]
    if order != "unsure":
        return indices
    ready = [i for i in indices if (p := session.proposer.proposals[i]) and not p.cause]
    ready = (
        [ready[row] for row in order_by_uncertainty(session.proposer.probabilities[ready])] if ready else []
    )
    rest = set(indices) - set(ready)
    return ready + [i for i in indices if i in rest]


def list_labels(session: Session) -> list[dict[str, Any]]:
    """Returns the labels of the model, with the number of photographs for which each is proposed."""
    counts = dict.fromkeys(session.model.labels, 0)
    for index, proposal in enumerate(session.proposer.proposals):
        if proposal and not session.decision(index).complete:
            for label in proposal.labels:
                counts[label] += 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0].casefold()))
    return [{"label": label, "proposed": count} for label, count in ordered]


def show_grid(session: Session, label: str, order: str, shown: str, start: int, count: int) -> dict[str, Any]:
    """Returns a page of the photographs of a keyword.

    Args:
      session: the review.
      label: the keyword, one of the model's labels or any other.
      order: "surest" first, least sure ("unsure") first, or as in the "folder".
      shown: "proposed": where the model proposes it and nothing is decided; "undecided": wherever nothing is
        decided; "accepted": where the photograph has it.
      start: the first photograph of the page.
      count: the photographs of a page.
    """
    key = key_of(label)
    column = {key_of(name): i for i, name in enumerate(session.model.labels)}.get(key)
    items = []
    for index, proposal in enumerate(session.proposer.proposals):
        if proposal is None or proposal.cause:
            continue
        state = _find_state(session, index, key)
        proposed = state is None and key in map(key_of, proposal.labels)
        if {"proposed": proposed, "undecided": state is None, "accepted": state is True}[shown]:
            chance = float(proposal.probabilities[column]) if column is not None else None
            items.append((index, chance, proposed, state))
    if order != "folder" and column is not None:
        chances = session.proposer.probabilities[:, column].astype(np.float32)
        items.sort(key=lambda item: abs(chances[item[0]] - 0.5) if order == "unsure" else -chances[item[0]])
    page = [
        {
            "index": index,
            "name": escape_unprintable(session.names[index]),
            "probability": chance,
            "proposed": proposed,
            "state": state,
        }
        for index, chance, proposed, state in items[start : start + count]
    ]
    return {"total": len(items), "items": page, "progress": show_progress(session)}


def _find_state(session: Session, index: int, key: str) -> bool | None:
    """Returns whether a photograph has a keyword by a person's word: True, False, or None if undecided."""
    decision = session.decision(index)
    if key in map(key_of, decision.rejected):
        return False
    if key in map(key_of, (*decision.accepted, *session.own_keywords(index))):
        return True
    return False if decision.complete else None

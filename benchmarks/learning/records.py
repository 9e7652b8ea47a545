"""Records of on-the-fly runs: their events, what they learnt, and the time they spent on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from kernpot.dynamics.label_store import LabelStore
from kernpot.dynamics.oracles import Labels

ORACLE_SECONDS = 5.0  # of the quantum calculation that learning is compared with


def events(directory: Path, *kinds: str) -> list[dict[str, Any]]:
    """Records of a run."""
    records = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    return [r for r in records if r["event"] in kinds]


def learnt(directory: Path) -> list[Atoms]:
    """What a run has labelled to learn from, in the order of asking."""
    training = json.loads((directory / "state.json").read_text())["training"]
    store = LabelStore(directory / "labels")
    return [store[n].structure for n in training if isinstance(store[n].answer, Labels)]


def learning_time(directory: Path) -> dict[str, Any]:
    """Wall time a run spent learning (fits and updates, not dynamics or the oracle), and per label.

    Returns
    -------
    dict
        ``share`` is the time per label over that of an oracle that takes 5 s.
    """
    learn = events(directory, "learn")
    n_labels = max(r["labels"] for r in learn)
    seconds = sum(r["seconds"] for r in learn)
    kinds = {kind: [r["seconds"] for r in learn if r["kind"] == kind] for kind in ("fit", "update")}
    asked = [r["seconds"] for r in events(directory, "label")]
    return {
        "labels": n_labels,
        "seconds": seconds,
        "seconds_per_label": seconds / n_labels,
        "share": seconds / n_labels / ORACLE_SECONDS,
        "fits": len(kinds["fit"]),
        "median_s": {kind: float(np.median(times)) if times else None for kind, times in kinds.items()},
        "n_inducing": max(r.get("n_inducing", 0) for r in learn),
        "oracle_median_s": float(np.median(asked)),
    }

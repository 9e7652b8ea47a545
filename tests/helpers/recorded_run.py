"""A made-up on-the-fly run, as its files tell it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

THRESHOLD = 0.15
N_COMPONENTS = 27


def events(
    n_records: int = 60, n_walkers: int = 2, error_factor: float = 1.0, coverage: float = 0.9, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Records of a run whose force std falls as it learns; audited errors are `error_factor` times their std."""
    rng = np.random.default_rng(seed)
    n_steps = 50 * n_records
    label = 0

    def judged(purpose: str, walker: int, step: int, std: float, error: float) -> dict[str, Any]:
        return {
            "event": "label",
            "label": label,
            "purpose": purpose,
            "walker": walker,
            "step": step,
            "time_fs": 0.5 * step,
            "seconds": 5.0,
            "max_force_std": std,
            "max_force_error": error,
            "rms_force_error": error / 3,
            "energy_error_per_atom": 0.001,
            "inside_90": rng.binomial(N_COMPONENTS, coverage) / N_COMPONENTS,
            "n_components": N_COMPONENTS,
            "flagged": std > THRESHOLD,
        }

    yield {
        "event": "start",
        "version": "0.1.0",
        "time": "2026-11-21T06:00:00",
        "n_steps": n_steps,
        "n_walkers": n_walkers,
    }
    for label in range(1, 11):
        first = {"walker": None, "step": 0, "time_fs": 0.0, "seconds": 5.0}
        yield {"event": "label", "label": label, "purpose": "bootstrap", **first}
    yield {"event": "learn", "kind": "fit", "labels": 10, "n_inducing": 90, "seconds": 2.0}
    for k in range(1, n_records + 1):
        for walker in range(n_walkers):
            step, std = 50 * k, float(0.14 * np.exp(-k / 30) + 0.03 + abs(rng.normal(0, 0.005)))
            at = {"walker": walker, "step": step, "time_fs": 0.5 * step}
            yield {"event": "step", **at, "n_steps": n_steps, "temperature": 300 + rng.normal(0, 30), "pressure": None,
                   "target_temperature": 300.0, "volume": None, "energy": -1.0, "max_force_std": std,
                   "threshold": THRESHOLD}  # fmt: skip
            if std > THRESHOLD:
                yield {"event": "gate", **at, "atom": 2, "element": "C", "reason": "force_std", "value": std,
                       "threshold": THRESHOLD}  # fmt: skip
                label += 1
                if label == 12:
                    reason = "SCF did not converge <in 80 iterations>"
                    yield {"event": "failed", "label": label, "purpose": "query", **at, "reason": reason}
                    continue
                yield judged("query", walker, step, std, 1.5 * std)
                yield {"event": "learn", "kind": "update", "labels": label, "n_inducing": 90 + label, "seconds": 0.25}
            elif k % 4 == 0:
                label += 1
                yield judged("audit", walker, step, std, error_factor * std)
    yield {"event": "end", "reason": "finished", "message": "all steps are made."}


def write_run(directory: Path, **options: Any) -> Path:
    """Write its files."""
    directory.mkdir(parents=True)
    lines = [json.dumps(event) + "\n" for event in events(**options)]
    (directory / "events.jsonl").write_text("".join(lines))
    (directory / "run.json").write_text(json.dumps({"oracle": {"calculator": "tblite <b>"}, "random_state": 7}))
    (directory / "config.yaml").write_text("structures: structures.json\n")
    return directory

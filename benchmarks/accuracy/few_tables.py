"""Table of few_structures for docs/benchmarks.md."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.shared.results import written
from benchmarks.shared.tables import not_yet, table


def few() -> str:
    """Fits to few structures without and with displaced copies: means over seeds."""
    if (stored := written("accuracy/few_structures")) is None:
        return not_yet("accuracy few_structures")
    found: dict[tuple[str, int], dict[bool, list[dict[str, Any]]]] = {}
    for row in stored["rows"]:
        found.setdefault((row["system"], row["n"]), {}).setdefault(row["copies"], []).append(row)

    def both(ways: dict[bool, list[dict[str, Any]]], key: str, factor: float, digits: int, unit: str = "") -> str:
        before, after = (factor * np.mean([r[key] for r in ways[copies]]) for copies in (False, True))
        return f"{before:.{digits}f}{unit} / {after:.{digits}f}{unit}"

    rows = [
        [
            system,
            str(n),
            both(ways, "n_inducing", 1, 0),
            both(ways, "force_rmse", 1e3, 0),
            both(ways, "energy_mae", 1e3, 2),
            both(ways, "force_coverage", 100, 0, " %"),
            both(ways, "energy_coverage", 100, 0, " %"),
            both(ways, "cpu_s", 1, 1),
        ]
        for (system, n), ways in found.items()
    ]
    header = ["data", "structures", "inducing environments", "force RMSE, meV/A", "energy MAE, meV/atom"]
    return table([*header, "90 % force intervals hold", "90 % energy intervals hold", "fit, CPU s"], rows)

"""Whether 90 % intervals of networks hold what they promise on data unlike the training data.

    python -m benchmarks error_bars networks            # all families of shifts.py, about half an hour on one core

The same splits as ``error_bars coverage``, learnt by `NNPEnsemble` with every default: nothing is chosen by the numbers
that come out. Writes results/networks.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.error_bars.coverage import judged
from benchmarks.error_bars.shifts import FAMILIES, Split
from benchmarks.shared.command_line import some_of
from benchmarks.shared.results import write_result
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import Clock
from kernpot import NNPEnsemble

SETTINGS: dict[str, Any] = {"random_state": 0}
SMOKE = Smoke({"SETTINGS": {"random_state": 0, "n_members": 2, "hidden": (8,), "max_epochs": 4, "n_components": 8}})


def measure(split: Split) -> list[dict[str, Any]]:
    """One row per group of test structures."""
    networks = NNPEnsemble(**SETTINGS).fit(split.train)
    rows = []
    for group, frames in split.test.items():
        row: dict[str, Any] = {"split": split.name, "shift": split.shift, "group": group, "structures": len(frames)}
        rows.append(row | {"familiar": group in split.familiar} | judged(networks, frames))
        f, e = rows[-1]["forces"], rows[-1]["energy"]
        print(
            f"{split.name:28s} {group:12s} forces {100 * f['coverage']['0.9']:5.1f} % of {f['n']:5d}, rms error"
            f" {f['rmse']:.4f}, rms std {f['sharpness']:.4f} {f['unit']}; energies {100 * e['coverage']['0.9']:4.0f} %"
            f" of {e['n']}",
            flush=True,
        )
    return rows


def main(arguments: Sequence[str]) -> None:
    """Measure the named families."""
    families = some_of("error_bars networks", __doc__, FAMILIES, arguments)
    clock = Clock()
    rows = [row for family in families for split in FAMILIES[family]() for row in measure(split)]
    if set(families) == set(FAMILIES):
        write_result("error_bars/networks", {"rows": rows, **clock.read()})

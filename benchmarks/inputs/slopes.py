"""Slopes of labels on what the other kinds of labels say, on sets that are right: what a check must leave alone.

python -m benchmarks inputs slopes     # some minutes
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.shared.command_line import nothing
from benchmarks.shared.datasets import DATA
from benchmarks.shared.results import ROOT, write_result
from benchmarks.shared.smoke import Smoke
from kernpot import SparseGPPotential, read_structures
from kernpot.calibration import kinds

CARRIED, PUBLISHED = ROOT / "examples" / "data", DATA
SETS = {
    "ethanol, GFN2": (CARRIED / "ethanol_gfn2.xyz.gz", 3),
    "dry ice, GFN1": (CARRIED / "dry_ice_gfn1.xyz.gz", 2),
    "silicon, PBE": (CARRIED / "silicon_pbe.xyz.gz", 1),
    "Mo": (PUBLISHED / "mlearn" / "Mo_train.xyz", 4),
    "Si": (PUBLISHED / "mlearn" / "Si_train.xyz", 4),
    "acetylacetone": (PUBLISHED / "acac" / "train_300K.xyz", 8),
    "3BPA": (PUBLISHED / "3bpa" / "train_300K.xyz", 10),
    "NbMoTaW": (PUBLISHED / "nbmotaw" / "train.xyz.gz", 40),
}
N_INDUCING = 400
SMOKE = Smoke({"SETS": {"silicon, PBE": (CARRIED / "silicon_pbe.xyz.gz", 10)}, "N_INDUCING": 40})


def main(arguments: Sequence[str]) -> None:
    """Fit, print and store."""
    nothing("inputs slopes", __doc__, arguments)
    found: dict[str, Any] = {}
    original = kinds.line
    for name, (path, step) in SETS.items():
        lines: list[tuple[float, float]] = []

        def noted(*given: Any, into: list[tuple[float, float]] = lines) -> tuple[float, float]:
            into.append(original(*given))
            return into[-1]

        kinds.line = noted
        try:
            SparseGPPotential(n_inducing=N_INDUCING, random_state=0).fit(read_structures(path)[::step])
        finally:
            kinds.line = original
        found[name] = [{"slope": slope, "correlation": correlation} for slope, correlation in lines]
        print(name, " ".join(f"{slope:.3f} ({correlation:.3f})" for slope, correlation in lines), flush=True)
    write_result("inputs/slopes", {"sets": found})

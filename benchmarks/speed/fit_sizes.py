"""How the time and memory of a fit grow with structures and with inducing environments.

    python -m benchmarks speed fit_sizes [structures] [inducing]

Ethanol (27 forces and an energy each), the default descriptor, hyperparameters found. Structures beyond those of the
training part are distorted copies, which a fitted model labels, for what matters is their number. Every fit is a
process of its own on one thread. Writes results/fit_sizes.json and docs/figures/fit_sizes.png; fits that are there
already are not made again.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from benchmarks.shared import smoke
from benchmarks.shared.command_line import some_of
from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.results import figure_path, write_result, written
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import python, run_process
from kernpot import SparseGPPotential, read_structures

# (structures, inducing environments) of each part.
PARTS = {
    "structures": [(n, 1000) for n in (200, 500, 1000, 2000, 5000, 10000)],
    "inducing": [(1000, m) for m in (1000, 2000, 4000, 7000, 10000)],
}
# Of the model that labels, and Angstrom.
_FEW, _DISTORTION = 100, 0.03

SMOKE = Smoke(constants={"PARTS": {"structures": [(5, 10), (10, 10)], "inducing": [(5, 10), (5, 20)]}, "_FEW": 5})


def frames(n: int) -> list[Atoms]:
    """So many structures with energies and forces."""
    train = [atoms for atoms in DATASETS["ethanol"].train() if len(atoms) > 1]
    if n <= len(train):
        return train[:n]
    gp = SparseGPPotential(n_inducing=_FEW, random_state=0).fit(train[:_FEW])
    rng = np.random.default_rng(0)
    found = list(train)
    while len(found) < n:
        atoms = train[len(found) % len(train)].copy()
        atoms.positions += rng.normal(0, _DISTORTION, atoms.positions.shape)
        mean = gp.mean(atoms)
        atoms.calc = SinglePointCalculator(atoms, energy=mean.energy, forces=mean.forces)
        found.append(atoms)
    return found


def main(arguments: Sequence[str]) -> None:
    """Make the fits of the named parts."""
    for part in some_of("speed fit_sizes", __doc__, PARTS, arguments, tuple(PARTS)):
        with TemporaryDirectory() as folder:
            for n, n_inducing in PARTS[part]:
                rows: list[dict[str, Any]] = (written("speed/fit_sizes") or {"rows": []})["rows"]
                if any((row["structures"], row["asked"]) == (n, n_inducing) for row in rows):
                    continue
                path, told = Path(folder) / f"{n}.xyz", Path(folder) / "told.txt"
                if not path.exists():
                    write(path, frames(n), format="extxyz")
                used = run_process(python("benchmarks.speed.fit_sizes", path, n_inducing, told))
                made, searched = told.read_text().split()
                rows.append({"structures": n, "asked": n_inducing, "n_inducing": int(made), **used})
                rows[-1]["searched"] = int(searched)
                write_result("speed/fit_sizes", {"rows": rows})
                print(
                    f"{n} structures, {made} inducing environments: {used['cpu_s']:.0f} s CPU, peak "
                    f"{used['peak_memory_GB']:.2f} GB",
                    flush=True,
                )
    figure((written("speed/fit_sizes") or {"rows": []})["rows"])


def figure(rows: list[dict[str, Any]]) -> None:
    """CPU time and memory against either number."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    fixed = {"structures": "asked", "n_inducing": "structures"}
    names = {"structures": "structures", "n_inducing": "inducing environments"}
    for axis, (by, other) in zip(axes, fixed.items(), strict=True):
        common = 1000 if smoke.folder() is None else rows[0][other]
        chosen = sorted((row for row in rows if row[other] == common), key=lambda row: row[by])
        numbers = [row[by] for row in chosen]
        axis.plot(numbers, [row["cpu_s"] for row in chosen], "o-", color="C0")
        axis.set(xscale="log", yscale="log", xlabel=names[by])
        axis.set_ylabel("CPU s, one thread", color="C0")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.set_xticks(numbers[::2], minor=False)
        axis.yaxis.set_major_formatter(ScalarFormatter())
        axis.set_title(f"{common} {names['n_inducing' if other == 'asked' else 'structures']}", fontsize=10)
        memory = axis.twinx()
        memory.plot(numbers, [row["peak_memory_GB"] for row in chosen], "s--", color="C1")
        memory.set_ylabel("peak memory, GB", color="C1")
        memory.set_ylim(bottom=0)
    figure.savefig(figure_path("fit_sizes"), dpi=130)


def fit(path: str, n_inducing: str, told: str) -> None:
    """One fit, in a process of its own."""
    gp = SparseGPPotential(n_inducing=int(n_inducing), inducing="leverage", random_state=0).fit(read_structures(path))
    searched = gp.summary_["hyperparameters"].get("searched_inducing", gp.n_inducing_)
    Path(told).write_text(f"{gp.n_inducing_} {searched}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    fit(*smoke.taken(sys.argv[1:]))

"""Learning curves with no settings at all: test errors and coverage against the number of training structures.

    python -m benchmarks accuracy curves Si 3bpa ethanol

Random, nested subsets of each training part; isolated atoms are always learnt. Writes results/curves_<set>.json and
docs/figures/curves.png, which shows networks from `networks compare` beside them; sizes that are there already are not
fitted again. The test part chooses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.accuracy.accuracy import scores
from benchmarks.shared import smoke
from benchmarks.shared.command_line import some_of
from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.results import figure_path, write_result, written
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import Clock
from kernpot import SparseGPPotential

SIZES = (10, 50, 100, 300, 1000)
SETS = ("Si", "3bpa", "ethanol")

SMOKE = Smoke(constants={"SIZES": (3, 5)}, arguments=("Si",))


def main(arguments: Sequence[str]) -> None:
    """Fit subsets of each named data set."""
    for name in some_of("accuracy curves", __doc__, DATASETS, arguments, SETS):
        data = DATASETS[name]
        train, test = data.train(), data.test()
        alone = [atoms for atoms in train if len(atoms) == 1]
        several = [atoms for atoms in train if len(atoms) > 1]
        order = np.random.default_rng(0).permutation(len(several))
        small = {} if smoke.folder() is None else {"n_inducing": 20}
        for n in sorted({min(size, len(several)) for size in SIZES}):
            rows: list[dict[str, Any]] = (written(f"accuracy/curves_{name}") or {"rows": []})["rows"]
            if any(row["structures"] == n for row in rows):
                continue
            clock = Clock()
            gp = SparseGPPotential(random_state=0, **small).fit([*alone, *(several[k] for k in sorted(order[:n]))])
            fit, found = clock.read(), scores(gp, test)["all"]
            of_kinds = {
                kind: {"mae": of["mae"], "rmse": of["rmse"], "coverage": of["coverage"]["0.9"]}
                for kind, of in found.items()
                if kind != "structures"
            }
            told = gp.summary_["hyperparameters"].get("whole_space")
            row = {"structures": n, "n_inducing": gp.n_inducing_, "whole_space": told}
            rows.append(row | {"test": of_kinds, "fit": fit})
            write_result(f"accuracy/curves_{name}", {"rows": rows})
            e, f = of_kinds["energy"], of_kinds["forces"]
            print(
                f"{name:8s} {n:5d} structures: energy MAE {1e3 * e['mae']:.2f} meV/atom, forces MAE "
                f"{1e3 * f['mae']:.1f} meV/A, 90 % cover {100 * e['coverage']:.0f} and {100 * f['coverage']:.0f} %, "
                f"{fit['cpu_s']:.0f} s CPU",
                flush=True,
            )
    draw()


def networks(name: str) -> list[tuple[int, float, float]]:
    """Structures and mean absolute errors (eV/atom, eV/A) of the networks on a set, where `networks compare` ran."""
    stored = written(f"networks/compare_{name}") or {"curve": []}
    found = []
    for point in stored["curve"]:
        mae = {s["kind"]: s["values"].get("NNPEnsemble") for s in point["scores"] if s["measure"] == "mae"}
        if mae.get("energy") is not None and mae.get("forces") is not None:
            found.append((point["n_train"], 1e-3 * mae["energy"], mae["forces"]))
    return found


def draw() -> None:
    """Errors of all stored sets."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    stored = [(name, r) for name in DATASETS if (r := written(f"accuracy/curves_{name}")) is not None]
    figure, grid = plt.subplots(
        2, len(stored), figsize=(2.8 * len(stored), 5), layout="constrained", sharex="col", squeeze=False
    )
    for column, (name, r) in enumerate(stored):
        beside = networks(name)
        for row, (kind, unit) in enumerate({"energy": "meV/atom", "forces": "meV/A"}.items()):
            axis = grid[row, column]
            sizes = [point["structures"] for point in r["rows"]]
            axis.plot(sizes, [1e3 * p["test"][kind]["mae"] for p in r["rows"]], "o-", label="Gaussian process")
            if beside:
                axis.plot([p[0] for p in beside], [1e3 * p[1 + row] for p in beside], "s--", label="networks")
            axis.set(xscale="log", yscale="log", ylabel=f"{kind} MAE, {unit}")
        grid[0, column].set_title(name, fontsize=10)
        grid[0, column].legend(fontsize=8)
        grid[1, column].set_xlabel("training structures")
    figure.savefig(figure_path("curves"), dpi=130)

"""Whether hyperparameters found with fewer inducing environments are as good as those found with all.

    python -m benchmarks accuracy searched 3bpa ethanol Si

Fits a sample of each training part with the same 2000 inducing environments; the evidence is searched with the leading
ones of them, or with all. Writes results/searched_<set>.json: errors on structures left out, CPU time. The test part is
not opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.accuracy.ideas import sample
from benchmarks.shared.command_line import some_of
from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.results import write_result
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import Clock
from kernpot import SparseGPPotential
from kernpot.gp.learning import hyperparameters

N_INDUCING = 2000
NUMBERS = (250, 500, 1000, hyperparameters.SEARCHED, N_INDUCING)

SMOKE = Smoke(constants={"N_INDUCING": 20, "NUMBERS": (10, 20)}, arguments=("Si",))


def main(arguments: Sequence[str]) -> None:
    """Search with every number on each named data set."""
    for name in some_of("accuracy searched", __doc__, DATASETS, arguments, ("Si",)):
        train = sample(DATASETS[name].train())
        rows: list[dict[str, Any]] = []
        as_it_is = hyperparameters.SEARCHED
        for n in NUMBERS:
            clock = Clock()
            hyperparameters.SEARCHED = n
            try:
                gp = SparseGPPotential(n_inducing=N_INDUCING, inducing="leverage", random_state=0).fit(train)
            finally:
                hyperparameters.SEARCHED = as_it_is
            mae = gp.summary_["hyperparameters"]["leave_one_out"]["mae"]
            rows.append({"searched": n, "n_inducing": gp.n_inducing_, "noise": gp.noise_, "mae": mae, **clock.read()})
            print(
                f"{name:8s} searched with {n} of {gp.n_inducing_}: {1e3 * mae['energy']:.3f} meV/atom, "
                f"{1e3 * mae['forces']:.2f} meV/A, {rows[-1]['cpu_s']:.0f} s CPU",
                flush=True,
            )
        write_result(f"accuracy/searched_{name}", {"structures": len(train), "rows": rows})

"""What `SparseGPPotential()` reaches beside the settings that were chosen.

    python -m benchmarks accuracy defaults Si Mo 3bpa acac ethanol nbmotaw

Fits each training part with no settings at all (but a seed), opens the test part, and writes
results/defaults_<set>.json: errors, coverage with either kind of error bars, how many inducing
environments the fit took and why no more.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.accuracy.accuracy import scores
from benchmarks.shared import smoke
from benchmarks.shared.command_line import some_of
from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.results import write_result
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import Clock
from kernpot import SparseGPPotential

SMOKE = Smoke(arguments=("Si",))


def main(arguments: Sequence[str]) -> None:
    """Fit and test each named data set."""
    for name in some_of("accuracy defaults", __doc__, DATASETS, arguments, ("Si", "Mo")):
        data = DATASETS[name]
        train = data.train()
        clock = Clock()
        small = {} if smoke.folder() is None else {"n_inducing": 20}
        gp = SparseGPPotential(random_state=0, **small).fit(train)
        fit = clock.read()
        test = data.test()
        result = scores(gp, test)
        write_result(
            f"accuracy/defaults_{name}",
            {
                "n_inducing": gp.n_inducing_,
                "growth": gp.summary_.get("growth"),
                "whole_space": gp.summary_["hyperparameters"].get("whole_space"),
                "test": result,
                # The same fit and test part, with the other kind of error bars.
                "of_draws": None if gp.fitted_.shared is None else scores(gp.set_params(error_bars="draws"), test),
                "fit": fit,
                "leave_one_out": gp.summary_["hyperparameters"]["leave_one_out"],
            },
        )
        e, f = result["all"]["energy"], result["all"]["forces"]
        print(
            f"{name:8s} {gp.n_inducing_} inducing environments, energy MAE {1e3 * e['mae']:.2f} meV/atom, forces MAE "
            f"{1e3 * f['mae']:.1f}, RMSE {1e3 * f['rmse']:.1f} meV/A, 90 % cover {100 * e['coverage']['0.9']:.0f} and "
            f"{100 * f['coverage']['0.9']:.1f} %, {fit['cpu_s']:.0f} s CPU",
            flush=True,
        )

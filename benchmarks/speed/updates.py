"""Learning more with a fitted model: one structure (partial_fit), more inducing environments (add_inducing).

    python -m benchmarks speed updates            # about five minutes

Silicon (Zuo et al.: 214 structures, 13,233 atoms), 1000 inducing environments, CPU time of one thread. Environments to
add are those of atoms of test structures, moved by 0.05 A so that none is inducing already. What add_inducing makes is
compared with the rows of all structures made anew for the enlarged set, at the same hyperparameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from ase import Atoms

from benchmarks.shared.command_line import nothing
from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.results import write_result
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.systems import SYSTEMS
from benchmarks.shared.timing import Clock
from kernpot import SparseGPPotential
from kernpot.gp.fitted import FittedGP
from kernpot.gp.predicting.predictor import predictor_of
from kernpot.gp.rows.compress import compress

COUNTS = (1, 20, 100)
SMOKE = Smoke({"COUNTS": (1, 3)})


def environments(frames: list[Atoms], n: int) -> list[Atoms]:
    """Structures that mark one environment each."""
    rng = np.random.default_rng(n)
    marked = []
    for k in range(n):
        atoms = frames[k % len(frames)].copy()
        atoms.rattle(0.05, rng=rng)
        atoms.arrays["inducing"] = np.arange(len(atoms)) == rng.integers(len(atoms))
        marked.append(atoms)
    return marked


def partial_fits(gp: SparseGPPotential, frames: list[Atoms]) -> dict[str, Any]:
    """CPU seconds of learning single structures of the largest size, one after the other."""
    model, seconds = deepcopy(gp), []
    largest = max(map(len, frames))
    for atoms in [a for a in frames if len(a) == largest][:5]:
        clock = Clock()
        model.partial_fit([atoms])
        seconds.append(clock.read()["cpu_s"])
    return {"n_atoms": largest, "cpu_s": seconds}


def difference(found: FittedGP, scratch: FittedGP, frames: list[Atoms]) -> dict[str, float]:
    """Largest differences of means, relative to the label noise, and of standard deviations, relative to themselves."""
    worst: dict[str, float] = {}
    for a, b in zip(*(map(f.once(predictor_of), frames) for f in (found, scratch)), strict=True):
        for kind in ("energy", "forces", "stress"):
            x, y = getattr(a, kind), getattr(b, kind)
            if x is None:
                continue
            parts = {"mean": abs(x.mean - y.mean) / y.std, "epistemic_std": abs(x.epistemic_std / y.epistemic_std - 1)}
            for name, value in parts.items():
                worst[f"{kind}_{name}"] = max(worst.get(f"{kind}_{name}", 0.0), float(np.max(value)))
    worst["log_evidence"] = abs(found.log_evidence / scratch.log_evidence - 1)
    return worst


def additions(gp: SparseGPPotential, frames: list[Atoms], count: int) -> dict[str, Any]:
    """CPU seconds of adding environments, beside making all rows anew, and the difference between the two."""
    found = deepcopy(gp)
    clock = Clock()
    found.add_inducing(environments(frames, count))
    added = clock.read()["cpu_s"]
    fitted = found.fitted_
    assert fitted.training is not None
    clock = Clock()
    scratch = replace(fitted, factors=compress(fitted.training, fitted.maker).factors, found_posterior=None).ready()
    again = clock.read()["cpu_s"]
    return {
        "added": found.n_inducing_ - gp.n_inducing_,
        "cpu_s": added,
        "cpu_s_scratch": again,
        "difference": difference(fitted, scratch, frames[:: max(1, len(frames) // 10)]),
    }


def main(arguments: Sequence[str]) -> None:
    """Fit, learn more, print and store."""
    nothing("speed updates", __doc__, arguments)
    torch.set_num_threads(1)
    train, test = DATASETS["Si"].train(), DATASETS["Si"].test()
    clock = Clock()
    gp = SYSTEMS["Si"].setting("Si").estimator(["Si"]).fit(train)
    result: dict[str, Any] = {"fit": clock.read()}
    print("fit", result["fit"])
    result["partial_fit"] = partial_fits(gp, test)
    print("partial_fit", result["partial_fit"])
    result["add_inducing"] = []
    for count in COUNTS:
        result["add_inducing"].append(additions(gp, test, count))
        print("add_inducing", result["add_inducing"][-1])
    write_result("speed/updates", result)

"""What each idea for a sharper kernel gives alone: errors on structures left out of the training part.

    python -m benchmarks accuracy ideas 3bpa ethanol Si

Fits a sample of each training part with one setting changed at a time, and writes results/ideas_<set>.json. The test
part is not opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from dscribe.descriptors import SOAP

from benchmarks.shared import smoke
from benchmarks.shared.command_line import some_of
from benchmarks.shared.datasets import DATASETS, species_of
from benchmarks.shared.results import write_result
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import Clock
from kernpot import SOAPKernel, SparseGPPotential

SMOKE = Smoke(arguments=("Si",))

# Structures of the sample, beside isolated atoms.
SAMPLE = 200
MOLECULES = ("3bpa", "acac", "ethanol")


def main(arguments: Sequence[str]) -> None:
    """Try all ideas on each named data set."""
    for name in some_of("accuracy ideas", __doc__, DATASETS, arguments, ("Si",)):
        train = sample(DATASETS[name].train())
        rows: list[dict[str, Any]] = []
        for idea, estimator in ideas(name, species_of(train)).items():
            clock = Clock()
            gp = estimator.fit(train)
            told = gp.summary_["hyperparameters"]
            rows.append({"idea": idea, "n_inducing": gp.n_inducing_, **told["leave_one_out"], **clock.read()})
            mae = rows[-1]["mae"]
            print(
                f"{name:8s} {idea:40s} {1e3 * mae['energy']:.2f} meV/atom, {1e3 * mae['forces']:.1f} meV/A", flush=True
            )
        write_result(f"accuracy/ideas_{name}", {"structures": len(train), "rows": rows})


def sample(train: list[Atoms]) -> list[Atoms]:
    """Isolated atoms and at most so many others, in their order."""
    others = [k for k, atoms in enumerate(train) if len(atoms) > 1]
    drawn = set(np.random.default_rng(0).permutation(others)[:SAMPLE].tolist())
    return [atoms for k, atoms in enumerate(train) if len(atoms) == 1 or k in drawn]


def ideas(name: str, species: list[str]) -> dict[str, SparseGPPotential]:
    """Estimators that differ from the first in one setting."""
    molecule = name in MOLECULES
    r_cut, n_max, l_max, sigma = (4.5, 6, 5, 0.4) if molecule else (5.0, 8, 6, 0.5)
    mode = "mu1nu1" if len(species) > 2 else "off"
    n_inducing = 1000
    if smoke.folder() is not None:
        n_max, l_max, n_inducing = 3, 2, 20

    def soap(**changes: Any) -> SOAP:
        found = {"r_cut": r_cut, "n_max": n_max, "l_max": l_max, "sigma": sigma, "m": 1, "mode": mode} | changes
        m, compression = found.pop("m"), {"mode": found.pop("mode"), "species_weighting": None}
        weighting = {"function": "poly", "r0": found["r_cut"], "c": 1.0, "m": m}
        return SOAP(species=species, periodic=True, weighting=weighting, compression=compression, **found)

    def gp(descriptor: Any = None, n: float = 1, **parameters: Any) -> SparseGPPotential:
        asked = {"inducing": "fps", "random_state": 0} | parameters
        return SparseGPPotential(descriptor or soap(), n_inducing=int(n * n_inducing), **asked)

    found = {
        "as it is": gp(),
        "half as many inducing environments": gp(n=0.5),
        "twice as many": gp(n=2),
        "four times as many": gp(n=4),
        "by leverage": gp(inducing="leverage"),
        "power 1": gp(kernel=SOAPKernel(1)),
        "power 3": gp(kernel=SOAPKernel(3)),
        "power 4": gp(kernel=SOAPKernel(4)),
        "powers 1 and 2 added": gp([soap(), soap()], kernel=[SOAPKernel(1), SOAPKernel(2)]),
        "cutoff 0.8 times": gp(soap(r_cut=0.8 * r_cut)),
        "cutoff 1.2 times": gp(soap(r_cut=1.2 * r_cut)),
        "cutoffs 0.7 and 1.2 times added": gp([soap(r_cut=0.7 * r_cut, sigma=0.75 * sigma), soap(r_cut=1.2 * r_cut)]),
        "Gaussians 0.75 times as wide": gp(soap(sigma=0.75 * sigma)),
        "Gaussians 1.25 times as wide": gp(soap(sigma=1.25 * sigma)),
        "two more radial functions, one more degree": gp(soap(n_max=n_max + 2, l_max=l_max + 1)),
        "near neighbours weigh more (power 2)": gp(soap(m=2)),
    }
    if len(species) > 1:
        found["features not compressed" if mode == "mu1nu1" else "features compressed"] = gp(
            soap(mode="off" if mode == "mu1nu1" else "mu1nu1")
        )
    return found

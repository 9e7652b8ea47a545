"""What is done more than once: neighbour searches and descriptions of a fit, predictions of a gate and of a learner.

    python -m benchmarks speed repeats                     # a minute; counts, which no machine changes
    python -m benchmarks speed repeats --as before         # the same under another name

Everything is counted where versions of kernpot agree: at vesin, at SOAP's environments and at public methods. So this
counts in another version, too: ``git worktree add ../other b35ffe3``, its ``benchmarks/`` replaced by this folder.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import vesin
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from dscribe.descriptors import SOAP

from benchmarks.shared.command_line import Parser
from benchmarks.shared.results import write_result, written
from benchmarks.shared.smoke import Smoke
from kernpot import NNPEnsemble, SparseGPPotential
from kernpot.descriptors import SOAPFeatures
from kernpot.dynamics import Bootstrap, OnTheFlyLearner, Schedule, Stage, UncertaintyGate
from kernpot.dynamics.oracles import CalculatorOracle

CUTOFF = 4.0
STRUCTURES, CHECKS, STEPS = 20, 20, 160
SMOKE = Smoke({"STRUCTURES": 10, "CHECKS": 3, "STEPS": 40})
METHODS = ("predict_full", "force_std", "save")


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Calls of vesin and of the methods, and centres described, while it lasts."""
    found: Counter[str] = Counter()
    search, places = vesin.NeighborList.__init__, [(SparseGPPotential, name) for name in METHODS]
    places += [(SOAPFeatures, "environments"), (vesin.NeighborList, "__init__")]
    kept = [getattr(owner, name) for owner, name in places]

    def counting(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            answer = original(*args, **options)
            if original is search:  # a search of its own each; what comes too close is looked for within 2 A
                found["searches" if options["cutoff"] > CUTOFF - 1 else "checks"] += 1
            else:
                found[name] += answer.last - answer.first if name == "environments" else 1
            return answer

        return call

    for original, (owner, name) in zip(kept, places, strict=True):
        setattr(owner, name, counting(original, name))
    try:
        yield found
    finally:
        for original, (owner, name) in zip(kept, places, strict=True):
            setattr(owner, name, original)


def soap() -> SOAP:
    """A small one."""
    weighting = {"function": "poly", "r0": CUTOFF, "c": 1.0, "m": 2}
    return SOAP(species=["Cu"], r_cut=CUTOFF, n_max=4, l_max=3, sigma=0.5, periodic=True, weighting=weighting)


def crystals(n: int) -> list[Atoms]:
    """Rattled copper, labelled by EMT."""
    rng, frames = np.random.default_rng(0), []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
        atoms.calc = EMT()
        atoms.get_stress()
        frames.append(atoms)
    return frames


def gp() -> SparseGPPotential:
    """Few inducing environments, so that none of displaced copies are among them."""
    return SparseGPPotential(soap(), n_inducing=15, isolated_atoms={"Cu": 0.0}, n_draws=0, random_state=0)


def fits() -> dict[str, Any]:
    """Neighbour searches, checks for atoms too close, and descriptions of a structure in a fit."""
    frames, found = crystals(STRUCTURES), {}
    for name, potential in (
        ("gp", gp()),
        ("nnp", NNPEnsemble(soap(), hidden=(6,), n_members=2, max_epochs=3, validation=0.0, random_state=0)),
    ):
        with counted() as calls:
            potential.fit(frames)
        n_atoms = sum(map(len, frames))
        found[name] = {kind: calls[kind] / len(frames) for kind in ("checks", "searches")}
        found[name] |= {"descriptions": calls["environments"] / n_atoms}
    return found


def gate() -> dict[str, int]:
    """Predictions of full checks of a gate that has a force threshold alone."""
    frames = crystals(STRUCTURES)
    potential = gp().fit(frames)
    watching = UncertaintyGate(potential, force_std=1e3, recheck=1)
    with counted() as calls:
        for k in range(CHECKS):
            watching.check(frames[k % len(frames)])
    return {name: calls[name] for name in METHODS[:2]}


def learner() -> dict[str, int]:
    """Predictions and stored models of a run that learns a few times and audits."""
    potential = gp()
    with tempfile.TemporaryDirectory() as folder:
        run = OnTheFlyLearner(
            potential,
            CalculatorOracle(EMT),
            Schedule([Stage("langevin", STEPS, (100.0, 300.0), timestep=4.0, friction=5.0)]),
            UncertaintyGate(potential, force_std=0.05, every=2),
            bulk("Cu", cubic=True),
            Path(folder) / "run",
            bootstrap=Bootstrap(number=4, rattle=0.05),
            leg=40,
            record_every=20,
            audit_every=40,
            random_state=3,
        )
        with counted() as calls:
            outcome = run.run()
    return {name: calls[name] for name in METHODS} | {"labels": outcome.labels}


def main(arguments: Sequence[str]) -> None:
    """Count, print and store."""
    parser = Parser("speed repeats", __doc__)
    parser.add_argument("--as", dest="version", default="now", help="name of the version that is measured")
    version = parser.parse_args(arguments).version
    found = {"fit": fits(), "gate": gate(), "learner": learner()}
    print(version, found)
    write_result("speed/repeats", {**(written("speed/repeats") or {}), version: found})

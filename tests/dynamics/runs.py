"""A small real run: argon clusters, a Lennard-Jones oracle that counts, a Gaussian process that learns at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.lj import LennardJones
from dscribe.descriptors import SOAP

from kernpot import SparseGPPotential
from kernpot.dynamics import Bootstrap, OnTheFlyLearner, Schedule, Stage, UncertaintyGate
from kernpot.dynamics.oracles import Labels, OracleFailure, checked_labels

CLUSTER = [[0.0, 0.0, 0.0], [3.8, 0.1, 0.0], [1.8, 3.3, 0.1], [1.9, 1.1, 3.1], [2.0, 1.2, -3.2]]
SOAP_OPTIONS: dict[str, Any] = {
    "species": ["Ar"],
    "r_cut": 6.0,
    "n_max": 4,
    "l_max": 3,
    "sigma": 0.6,
    "periodic": True,
    "weighting": {"function": "poly", "r0": 6.0, "c": 1.0, "m": 1},
}
THRESHOLD = 0.0002


def cluster() -> Atoms:
    return Atoms("Ar5", CLUSTER)


def potential(**options: Any) -> SparseGPPotential:
    return SparseGPPotential(SOAP(**SOAP_OPTIONS), **({"n_inducing": 40, "isolated_atoms": {"Ar": 0.0}} | options))


class CountingOracle:
    """Lennard-Jones argon that writes down what it is asked before it answers; `spoil` may make an answer fail."""

    def __init__(self, log: Path, spoil: Any = None) -> None:
        self.log, self.spoil, self.n_asked = log, spoil, 0

    def answers(self, frames: Sequence[Atoms]) -> Iterator[tuple[int, Labels | OracleFailure]]:
        # In no particular order, as from a queue.
        for index in reversed(range(len(frames))):
            atoms = frames[index].copy()
            self.n_asked += 1
            with self.log.open("a") as stream:
                stream.write(atoms.positions.tobytes().hex() + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            if self.spoil is not None and self.spoil(self.n_asked):
                yield index, OracleFailure("the self-consistent field did not converge")
                continue
            atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=12.0)
            yield index, checked_labels(atoms, atoms.get_potential_energy(), atoms.get_forces())

    def describe(self) -> dict[str, Any]:
        return {"oracle": "Lennard-Jones argon"}

    def asked(self) -> list[str]:
        return self.log.read_text().split()


def learner(directory: Path, oracle: CountingOracle, steps: int = 160, **options: Any) -> OnTheFlyLearner:
    gp = potential()
    settings: dict[str, Any] = {
        "bootstrap": Bootstrap(number=6, rattle=0.15),
        "leg": 40,
        "record_every": 20,
        "audit_every": 60,
        "trial": 10,
        "random_state": 3,
    }
    return OnTheFlyLearner(
        gp,
        oracle,
        options.pop("dynamics", Schedule([Stage("langevin", steps, (15.0, 30.0), timestep=5.0, friction=5.0)])),
        options.pop("gate", UncertaintyGate(gp, force_std=THRESHOLD, every=2)),
        options.pop("initial", cluster()),
        directory,
        **(settings | options),
    )


if __name__ == "__main__":  # a run of its own, for tests that kill it
    folder = Path(sys.argv[1])
    learner(folder / "run", CountingOracle(folder / "asked.log"), n_walkers=int(sys.argv[2])).run()

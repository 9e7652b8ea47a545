"""100 ps with a potential that was learnt on the fly, and whether every failure is flagged.

    python -m benchmarks learning long_run ethanol_run      # the folder of on_the_fly_ethanol, whose first run it takes

Ethanol at 500 K, 200 000 steps of 0.5 fs, driven by the final potential of the learner, with a gate that looks at every
tenth step, takes note and lets go on. Said beforehand: a failure is a structure with an error above 0.3 eV/A in a
component of a force; the gate's threshold is the one that `UncertaintyGate.for_tolerance` derives from the training
structures for this error, with 1 % of bad structures let through. 400 structures met at random where the gate looked,
and those at which the gate fired, are labelled after the run. A failure is undetected where the gate, as it ran, was
below its threshold in that very step. Writes results/long_run.json.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin

from benchmarks.learning.ethanol import TIMESTEP, labelled, start
from benchmarks.learning.on_the_fly_ethanol import TEMPERATURE, directory_of, on_the_fly
from benchmarks.shared.command_line import Parser
from benchmarks.shared.results import write_result
from benchmarks.shared.smoke import Smoke
from kernpot import SparseGPPotential, load
from kernpot.dynamics import UncertaintyGate

TOLERANCE = 0.3  # eV/A
MISSED = 0.01
STEPS, EVERY = 200_000, 10  # between two looks of the gate
N_AUDITED = 400
MOST_FLAGGED = 400  # of those at which the gate fired, labelled
SMOKE = Smoke({"STEPS": 8, "EVERY": 2, "N_AUDITED": 2, "MOST_FLAGGED": 2}, ("{folder}/runs",))


@dataclass(frozen=True)
class Seen:
    """A structure met."""

    step: int
    atoms: Atoms
    flagged: bool


def simulate(potential: SparseGPPotential, gate: UncertaintyGate, seed: int) -> list[Seen]:
    """Run; what was met at random."""
    rng = np.random.default_rng([seed, 1])
    audited = set(np.random.default_rng([seed, 2]).choice(STEPS // EVERY, N_AUDITED, replace=False) * EVERY + EVERY)
    atoms = start()
    atoms.calc = potential.calculator()
    atoms.set_momenta(np.sqrt(atoms.get_masses() * units.kB * TEMPERATURE)[:, None] * rng.standard_normal((9, 3)))
    dynamics = Langevin(
        atoms, TIMESTEP * units.fs, temperature_K=TEMPERATURE, friction=0.01 / units.fs, rng=rng, fixcm=False
    )
    seen: list[Seen] = []

    def look() -> None:
        gate.check(atoms, dynamics.nsteps)
        if dynamics.nsteps in audited:
            last = gate.last
            above = last is not None and last.step == dynamics.nsteps and last.force_std > gate.force_std
            seen.append(Seen(dynamics.nsteps, Atoms(atoms.symbols, atoms.positions), above))
        if dynamics.nsteps % 20_000 == 0:
            print(f"{dynamics.nsteps * TIMESTEP / 1e3:.0f} ps: the gate fired {len(gate.events)} times", flush=True)

    dynamics.attach(look, interval=EVERY)
    dynamics.run(STEPS)
    return seen


def judged(potential: SparseGPPotential, seen: list[Seen]) -> list[dict[str, Any]]:
    """Largest errors of force components."""
    rows = []
    for s in seen:
        prediction = potential.predict_full([s.atoms])[0]
        errors = np.abs(prediction.forces.mean - labelled(s.atoms).get_forces())
        std = float(prediction.forces.std.max())
        rows.append({"step": s.step, "flagged": s.flagged, "max_force_std": std, "max_force_error": errors.max()})
    return rows


def counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Failures, flags, and failures without a flag."""
    failed = [r for r in rows if r["max_force_error"] > TOLERANCE]
    return {
        "frames": len(rows),
        "failures": len(failed),
        "flagged": sum(r["flagged"] for r in rows),
        "undetected": sum(not r["flagged"] for r in failed),
        "false_alarms": sum(r["flagged"] and r["max_force_error"] <= TOLERANCE for r in rows),
    }


def main(arguments: Sequence[str]) -> None:
    """Run, label, count."""
    parser = Parser("learning long_run", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="of the learner and of this run (default: %(default)s)")
    args = parser.parse_args(arguments)
    directory = directory_of(args.folder, args.seed)
    if not (directory / "model.kernpot").exists():
        on_the_fly(args.folder, args.seed)
    potential = load(directory / "model.kernpot")
    gate = UncertaintyGate.for_tolerance(potential, TOLERANCE, MISSED, action="record")
    print(f"threshold {gate.force_std:.3f} eV/A for errors above {TOLERANCE} eV/A")
    began = time.perf_counter()
    seen = simulate(potential, gate, args.seed)
    wall = time.perf_counter() - began
    fired = [Seen(e.step, Atoms(e.atoms.symbols, e.atoms.positions), True) for e in gate.events][:MOST_FLAGGED]
    audited, flagged = judged(potential, seen), judged(potential, fired)
    result = {
        "tolerance_eV_A": TOLERANCE,
        "missed": MISSED,
        "threshold_eV_A": gate.force_std,
        "ps": STEPS * TIMESTEP / 1e3,
        "temperature_K": TEMPERATURE,
        "audited": counts(audited),
        "fired": len(gate.events),
        "where_it_fired": counts(flagged),
        "full_checks": gate.n_checks,
        "wall_s": wall,
        "median_max_error": float(np.median([r["max_force_error"] for r in audited])),
        "largest_error": max(r["max_force_error"] for r in audited),
        "rows": audited,
    }
    print({key: value for key, value in result.items() if key != "rows"})
    write_result("learning/long_run", result)

"""The gate, measured: what it costs, whether its screen lets through what it should not, and what it finds.

    python -m benchmarks error_bars gate [detection] [screening] [cost]      # all: about ten minutes on one core

``cost``: CPU time of NVE steps without a gate, with one that checks in full at every step, exactly or by draws, with
one that screens and has nothing to fear, and of one full check; runs take turns and ratios are formed within a turn.

``screening``: gates watch dynamics of a potential, with exact stds of every step beside them. A frame is missed when
its largest std is above the threshold and the gate let it pass. The largest std of 200 quiet steps is the usual one;
gates with thresholds at multiples of it watch 200 more, and a run that is heated far beyond the training temperature.

``detection``: frames the potential has not seen, with labels: ethanol by fresh GFN2-xTB dynamics at 300 to 1200 K and
with an O-H or C-O bond stretched, and published structures of kinds left out of training; beside them familiar ones,
every eighth training structure, kept from the fit. A failure is a frame with an error of a force component above the
tolerance, for all alike what 19 of 20 training structures stay below when left out in turn; the gate's number is its
largest std of a component. Thresholds come from training data alone, ``UncertaintyGate.for_tolerance`` with its
defaults but for the tolerance.

Writes results/gate.json and docs/figures/gate.png. Needs tblite.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tblite.ase import TBLite

from benchmarks.error_bars.detection import curve
from benchmarks.error_bars.shifts import Split, alloys, molecules, solids, thinned
from benchmarks.shared.command_line import some_of
from benchmarks.shared.datasets import species_of
from benchmarks.shared.results import figure_path, write_result, written
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import spread
from kernpot import SparseGPPotential
from kernpot.dynamics import UncertaintyGate
from kernpot.report.panels import COLOURS, STYLE

TURNS = 5
MISSED = 0.01
BELOW = 0.95  # of structures left out in turn have errors below the tolerance
TIMES = (1.2, 1.5, 2.0, 3.0)
KEPT_OUT = 8
N_INDUCING = 1000
WANTED = ("ethanol", "dry ice", "3BPA", "Si at 300 K", "Si without Vacancy", "Mo at 300 K", "NbMoTaW without AIMD")
# Steps before the first frame of a fresh trajectory, its frames, and steps between them; points of a bond drawn out.
TRAJECTORY, POINTS = (400, 40, 20), 41
QUIET, LONGEST = 200, 800  # steps watched before a screen is judged, and afterwards at most
# Steps timed, and those checked in full, of fewer than 100 atoms and of more.
TIMED, TIMED_LARGE = (200, 4), (100, 2)
SMOKE = Smoke(
    {"TURNS": 1, "WANTED": ("ethanol",), "TRAJECTORY": (2, 2, 1), "POINTS": 3, "N_INDUCING": 20}
    | {"QUIET": 3, "LONGEST": 3, "TIMED": (6, 1), "TIMED_LARGE": (6, 1)}
)
SETTLED = 4  # full checks after which a gate waits for `recheck` looks


class Case(NamedTuple):
    """A potential and what it is asked about."""

    name: str
    potential: SparseGPPotential
    tolerance: float
    test: dict[str, list[Atoms]]


def cases() -> Iterator[Case]:
    """Potentials of shifted splits, ethanol's with fresh test frames."""
    for split in chain(molecules(), solids(), alloys()):
        if not split.name.startswith(WANTED):
            continue
        bound = [a for a in split.train if len(a) > 1]
        familiar = bound[::KEPT_OUT]
        train = [a for a in split.train if not any(a is f for f in familiar)]
        potential = split.setting.estimator(species_of(split.train)).fit(train)
        tolerance = float(np.quantile([np.abs(left_out.errors).max() for left_out in potential.left_out()], BELOW))
        test = fresh(split) if split.name.startswith("ethanol") else split.test
        yield Case(split.name, potential, tolerance, {"familiar": thinned(familiar, 40), **test})


def fresh(split: Split) -> dict[str, list[Atoms]]:
    """GFN2-xTB trajectories that start from test frames, 40 frames each, 10 fs apart; and two bonds drawn out."""
    start = split.test["MD300"]
    found = {f"{kelvin} K": trajectory(start[k], kelvin) for k, kelvin in enumerate((300, 500, 800, 1200))}
    return found | {"O-H drawn out": drawn_out(start[4], "O", "H"), "C-O drawn out": drawn_out(start[5], "C", "O")}


def trajectory(start: Atoms, kelvin: float) -> list[Atoms]:
    """Langevin dynamics, the first 200 fs left away."""
    atoms = start.copy()
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.1, verbosity=0)
    rng = np.random.RandomState(int(kelvin))
    MaxwellBoltzmannDistribution(atoms, temperature_K=kelvin, rng=rng)
    run = Langevin(atoms, 0.5 * units.fs, temperature_K=kelvin, friction=0.02 / units.fs, rng=rng)
    first, n_frames, between = TRAJECTORY
    run.run(first)
    frames = []
    for _ in range(n_frames):
        run.run(between)
        frames.append(labelled(atoms))
    return frames


def drawn_out(start: Atoms, first: str, second: str) -> list[Atoms]:
    """The shortest bond of two elements, from 0.8 to 1.8 of its length."""
    atoms = start.copy()
    distances = atoms.get_all_distances()
    pairs = [(distances[i, j], i, j) for i in np.flatnonzero(atoms.symbols == first) for j in range(len(atoms))]
    length, i, j = min(p for p in pairs if atoms.symbols[p[2]] == second)
    along = (atoms.positions[j] - atoms.positions[i]) / length
    # The smaller end goes with the bond: for C-O the hydroxyl.
    bound = [j] if second == "H" else [j, *(k for k in np.flatnonzero(atoms.symbols == "H") if distances[j, k] < 1.3)]
    frames = []
    for factor in np.linspace(0.8, 1.8, POINTS):
        moved = atoms.copy()
        moved.positions[bound] += (factor - 1) * length * along
        moved.calc = TBLite(method="GFN2-xTB", accuracy=0.1, verbosity=0)
        frames.append(labelled(moved))
    return frames


def labelled(atoms: Atoms) -> Atoms:
    """A copy with what its calculator says."""
    out = atoms.copy()
    out.calc = SinglePointCalculator(out, energy=atoms.get_potential_energy(), forces=atoms.get_forces().copy())
    return out


# ---------------------------------------------------------------- detection


def detection(case: Case) -> dict[str, Any]:
    """Errors and stds of all frames against the tolerance and the threshold."""
    gate = UncertaintyGate.for_tolerance(case.potential, case.tolerance, MISSED)
    rows = {}
    for kind, frames in case.test.items():
        found = case.potential.predict_full(frames)
        rows[kind] = (
            np.array([np.abs(p.forces.mean - a.get_forces()).max() for p, a in zip(found, frames, strict=True)]),
            np.array([p.forces.std.max() for p in found]),
        )
    errors, stds = (np.concatenate(part) for part in zip(*rows.values(), strict=True))
    bad = errors > case.tolerance
    return {
        "case": case.name,
        "tolerance": case.tolerance,
        "threshold": gate.force_std,
        **rates(errors, stds, case.tolerance, gate.thresholds["force_std"]),
        "default": rates(errors, stds, case.tolerance, 0.15),
        "kinds": {k: rates(*row, case.tolerance, gate.thresholds["force_std"]) for k, row in rows.items()},
        "curve": curve(bad, stds) if 0 < bad.sum() < len(bad) else None,
    }


def rates(
    errors: NDArray[np.float64], stds: NDArray[np.float64], tolerance: float, threshold: float
) -> dict[str, float | int | None]:
    """Missed failures and false alarms; None where there is nothing to be missed, or to be alarmed falsely."""
    bad, alarm = errors > tolerance, stds > threshold
    return {
        "frames": len(bad),
        "failures": int(bad.sum()),
        "missed": int((bad & ~alarm).sum()),
        "false_alarms": int((alarm & ~bad).sum()),
        "missed_of_failures": float((bad & ~alarm).sum() / bad.sum()) if bad.any() else None,
        "failures_of_passed": float((bad & ~alarm).sum() / (~alarm).sum()) if (~alarm).any() else None,
        "false_alarms_of_good": float((alarm & ~bad).sum() / (~bad).sum()) if not bad.all() else None,
    }


# ---------------------------------------------------------------- screening


class Watched(NamedTuple):
    """A run of a potential: its start, temperatures (K) from and to, time step (fs), steps."""

    start: Atoms
    kelvin: tuple[float, float]
    timestep: float
    steps: int


def dynamics_of(potential: SparseGPPotential, start: Atoms, kelvin: float, timestep: float) -> Langevin:
    """Langevin dynamics of a potential."""
    atoms = start.copy()
    atoms.calc = potential.calculator()
    rng = np.random.RandomState(0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * kelvin, rng=rng)
    return Langevin(atoms, timestep * units.fs, temperature_K=kelvin, friction=0.01 / units.fs, rng=rng)


class Pair:
    """A gate and the exact std beside it: what the gate lets through, and what it checks."""

    def __init__(self, potential: SparseGPPotential, threshold: float) -> None:
        self.gate = UncertaintyGate(potential, threshold, action="record")
        self.threshold, self.above, self.missed, self.worst = threshold, 0, 0, 0.0

    def look(self, atoms: Atoms, step: int, exact: float) -> None:
        """One look of the gate."""
        before = self.gate.n_checks
        self.gate.check(atoms, step)
        if exact > self.threshold:
            self.above += 1
            if self.gate.n_checks == before:
                self.missed += 1
                self.worst = max(self.worst, exact / self.threshold)

    def as_dict(self) -> dict[str, Any]:
        """What came of it."""
        looks, checks = self.gate.n_looks, self.gate.n_checks
        return {
            "threshold": self.threshold,
            "looks": looks,
            "above": self.above,
            "missed": self.missed,
            "worst_missed": self.worst,
            "checked": checks / looks,
            "checked_of_quiet": (checks - self.above + self.missed) / max(looks - self.above, 1),
        }


def largest_std(potential: SparseGPPotential, atoms: Atoms) -> float:
    """Exact, of a force component."""
    return float(potential.predict_full([atoms])[0].forces.std.max())


def screening(case: Case, run: Watched) -> dict[str, Any]:
    """Gates with thresholds at multiples of the usual std, on a quiet run and on a heated one."""
    low, high = run.kelvin
    quiet, heated = (dynamics_of(case.potential, run.start, low, run.timestep) for _ in range(2))
    quiet.run(QUIET)
    usual = 0.0
    for _ in range(QUIET):
        quiet.run(1)
        usual = max(usual, largest_std(case.potential, quiet.atoms))
    thresholds = [times * usual for times in TIMES]
    watched = {"quiet": watch(case.potential, quiet, thresholds, QUIET, (low, low))}
    watched["heated"] = watch(case.potential, heated, thresholds, min(run.steps, LONGEST), (low, high))
    return {"case": case.name, "kelvin": run.kelvin, "usual": usual, "times": TIMES, **watched}


def watch(
    potential: SparseGPPotential, run: Langevin, thresholds: list[float], steps: int, kelvin: tuple[float, float]
) -> list[dict[str, Any]]:
    """Gates with these thresholds on a run whose temperature changes linearly."""
    pairs = [Pair(potential, threshold) for threshold in thresholds]
    for step in range(steps):
        run.set_temperature(temperature_K=kelvin[0] + (kelvin[1] - kelvin[0]) * step / steps)
        run.run(1)
        exact = largest_std(potential, run.atoms)
        for pair in pairs:
            pair.look(run.atoms, step, exact)
    return [pair.as_dict() for pair in pairs]


# ---------------------------------------------------------------- cost


def cost(name: str, potential: SparseGPPotential, start: Atoms, timestep: float) -> dict[str, Any]:
    """CPU milliseconds of a step, by gate."""
    n, few = TIMED if len(start) < 100 else TIMED_LARGE
    quiet = 1e6
    by_draws = copy.copy(potential).set_params(error_bars="draws")
    runs: dict[str, tuple[int, Callable[[], UncertaintyGate | None]]] = {
        "none": (n, lambda: None),
        "full": (few, lambda: UncertaintyGate(potential, quiet, recheck=1)),
        "draws": (n - 1, lambda: UncertaintyGate(by_draws, quiet, recheck=1)),
        "screen": (n - 1, lambda: UncertaintyGate(potential, quiet, recheck=10**9)),
        "default": (n - 1, lambda: UncertaintyGate(potential, quiet)),
    }
    if potential.fitted_.shared is None:  # of few structures
        del runs["draws"]
    start_clock = time.process_time()
    potential.screen()
    making = time.process_time() - start_clock
    times: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(TURNS):
        for key, (steps, make) in runs.items():
            atoms = start.copy()
            atoms.calc = (by_draws if key == "draws" else potential).calculator()
            MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.RandomState(0))
            dynamics = VelocityVerlet(atoms, timestep * units.fs)
            gate = make()
            if gate is not None:
                while key not in ("full", "draws") and gate.n_checks < SETTLED:
                    gate.check(atoms)
                gate.attach_to(dynamics)
            atoms.get_forces()
            clock = time.process_time()
            dynamics.run(steps)
            # A run of n steps looks n + 1 times, which is 1 + 1/n of them for each step.
            looks = steps if gate is None else steps + 1
            times[key].append(1e3 * (time.process_time() - clock) / looks)
    added = {
        key: spread([(t - none) / none for t, none in zip(times[key], times["none"], strict=True)])
        for key in runs
        if key != "none"
    }
    return {
        "case": name,
        "atoms": len(start),
        "n_inducing": potential.n_inducing_,
        "screen_made_s": making,
        "step_ms": spread(times["none"]),
        "added": added,
    }


def costs() -> list[dict[str, Any]]:
    """Four systems, a thousand inducing environments."""
    rows = []
    for split in chain(molecules(), solids()):
        name = split.name.split(" ", 1)[0].strip(",")
        if name not in ("ethanol", "3BPA") and split.name != "Si at 300 K":
            continue
        gp = split.setting.estimator(species_of(split.train)).set_params(n_inducing=N_INDUCING).fit(split.train)
        if name == "Si":
            rows += [cost("Si", gp, bulk("Si", cubic=True) * (n, n, n), 2.0) for n in (2, 4)]
        else:
            rows.append(cost(name, gp, next(iter(split.test.values()))[0], 0.5))
    return rows


# ---------------------------------------------------------------- all


def plot(rows: list[dict[str, Any]]) -> None:
    """ROC curves with the point that the tolerance gives."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 4.4), layout="constrained")
        axes = figure.subplots()
        for row, colour in zip([r for r in rows if r["curve"]], COLOURS * 2, strict=False):
            label = f"{row['case']}, {row['tolerance']:.2f} eV/Å"
            axes.plot(np.linspace(0, 1, 101), row["curve"]["found"], color=colour, linewidth=1.3, label=label)
            axes.plot(row["false_alarms_of_good"], 1 - row["missed_of_failures"], "o", color=colour, markersize=5)
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
        axes.set(xlabel="false alarms, part of the good frames", ylabel="failures found", aspect=1)
        axes.legend(loc="lower right", fontsize=7)
        figure.savefig(figure_path("gate"), dpi=130)


def store(part: str, rows: list[dict[str, Any]]) -> None:
    """Replace one part of the stored result."""
    stored = written("error_bars/gate") or {}
    stored.pop("machine", None)
    write_result("error_bars/gate", stored | {part: rows, "missed": MISSED})
    print(rows[-1], flush=True)


def measure_cases(parts: list[str]) -> None:
    """Detection and screening, which share their potentials."""
    detected: list[dict[str, Any]] = []
    screened: list[dict[str, Any]] = []
    for case in cases():
        if "detection" in parts:
            detected.append(detection(case))
            store("detection", detected)
        start = {
            "ethanol": Watched(molecule("CH3CH2OH"), (300, 1500), 0.5, 800),
            "dry ice": Watched(case.test["familiar"][0], (300, 1500), 1.0, 300),
            "3BPA": Watched(case.test["familiar"][0], (300, 900), 0.5, 300),
            "Si at": Watched(bulk("Si", cubic=True) * (2, 2, 2), (300, 3000), 2.0, 200),
            "Mo at": Watched(bulk("Mo", cubic=True) * (3, 3, 3), (300, 4000), 2.0, 150),
        }
        run = next((value for name, value in start.items() if case.name.startswith(name)), None)
        if run is not None and "screening" in parts:
            screened.append(screening(case, run))
            store("screening", screened)
    if detected:
        plot(detected)


def main(arguments: Sequence[str]) -> None:
    """Measure and store the parts that are named, or all."""
    parts = some_of("error_bars gate", __doc__, ("detection", "screening", "cost"), arguments)
    if {"detection", "screening"} & set(parts):
        measure_cases(parts)
    if "cost" in parts:
        store("cost", costs())

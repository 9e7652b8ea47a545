"""Pictures of error bars where structures leave the training data, both ways.

    python -m benchmarks error_bars scans               # about ten minutes on one core

Default models of the ethanol that the repository carries (GFN2-xTB, 300 K) and of copper under ASE's effective medium
theory at 300 K (`error_bars/shifts.py`), asked about an O-H bond from 0.6 to 2.2 of its length, copper crystals
compressed and stretched, two copper atoms alone, and copper heated from 300 to 2000 K. Needs tblite. Writes
results/scans.json and docs/figures/scans.png.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from benchmarks.error_bars.shifts import dynamics
from benchmarks.shared.command_line import some_of
from benchmarks.shared.results import figure_path, write_result
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.stand_ins import CARRIED
from benchmarks.shared.timing import Clock
from kernpot import SparseGPPotential, read_structures

mpl.use("Agg")
from matplotlib import pyplot as plt

WAYS = ("exact", "draws")
SETTINGS: dict[str, Any] = {"random_state": 0}
N_TRAIN, N_POINTS, N_STEPS = 40, 33, 60
SMOKE = Smoke({"SETTINGS": {"random_state": 0, "n_inducing": 30}, "N_TRAIN": 8, "N_POINTS": 4, "N_STEPS": 3})


def asked(potential: SparseGPPotential, frames: list[Atoms], truth: Calculator, atoms: slice) -> dict[str, Any]:
    """Rms force error on some atoms of every frame, rms std both ways, and how many components 90 % intervals hold."""
    out: dict[str, Any] = {"error": []} | {f"{what}_{way}": [] for way in WAYS for what in ("std", "inside")}
    for frame in frames:
        labelled = frame.copy()
        labelled.calc = truth
        forces = labelled.get_forces()[atoms]
        out["error"].append(float(np.sqrt(np.mean((potential.mean(frame).forces[atoms] - forces) ** 2))))
        for way in WAYS:
            q = potential.predict_full([frame], error_bars=way)[0].forces
            low, high = (bound[atoms] for bound in q.interval(0.9))
            out[f"std_{way}"].append(float(np.sqrt(np.mean(q.std[atoms] ** 2))))
            out[f"inside_{way}"].append(float(np.mean((low <= forces) & (forces <= high))))
    return out


def ethanol() -> dict[str, Any]:
    """An O-H bond, from 0.6 to 2.2 of its length."""
    from tblite.ase import TBLite

    frames = read_structures(CARRIED / "ethanol_gfn2.xyz.gz")
    learnt = [a for a in frames if a.info["config_type"] in ("isolated_atom", "MD300") and a.info["split"] == "train"]
    learnt = [a for a in learnt if len(a) == 1] + [a for a in learnt if len(a) > 1][:: 1 if N_TRAIN > 10 else 12]
    potential = SparseGPPotential(**SETTINGS).fit(learnt)
    molecule = next(a for a in frames if a.info["config_type"] == "MD300" and a.info["split"] == "test")
    oxygen = int(np.flatnonzero(molecule.numbers == 8)[0])
    hydrogens = np.flatnonzero(molecule.numbers == 1)
    hydrogen = int(hydrogens[np.argmin(molecule.get_distances(oxygen, hydrogens))])
    length, scan = molecule.get_distance(oxygen, hydrogen), []
    factors = np.linspace(0.6, 2.2, N_POINTS)
    for factor in factors:
        frame = Atoms(molecule.numbers, molecule.positions)
        frame.set_distance(oxygen, hydrogen, factor * length, fix=0)
        scan.append(frame)
    found = asked(potential, scan, TBLite(method="GFN2-xTB", verbosity=0), slice(hydrogen, hydrogen + 1))
    return {"at": (factors * length).tolist(), "structures": len(learnt), **found}


def copper() -> dict[str, dict[str, Any]]:
    """Crystals compressed and stretched, two atoms, and a heated run."""
    learnt, everything = dynamics("Cu", 300, N_TRAIN, seed=1), slice(None)
    potential = SparseGPPotential(**SETTINGS).fit(learnt)
    factors, crystals, rng = np.linspace(0.8, 1.15, N_POINTS), [], np.random.RandomState(0)
    for factor in factors:
        crystal = bulk("Cu", cubic=True) * (2, 2, 2)
        crystal.set_cell(crystal.cell.array * factor, scale_atoms=True)
        crystal.positions += rng.normal(0.0, 0.05, crystal.positions.shape)
        crystals.append(crystal)
    distances = np.linspace(1.0, 4.0, N_POINTS)
    dimers = [Atoms("Cu2", [[0, 0, 0], [0, 0, d]]) for d in distances]
    heated, kelvin = heating()
    found = {
        "crystal": (factors, asked(potential, crystals, EMT(), everything)),
        "dimer": (distances, asked(potential, dimers, EMT(), everything)),
        "heated": (kelvin, asked(potential, heated, EMT(), everything)),
    }
    return {name: {"at": list(map(float, at)), "structures": len(learnt), **told} for name, (at, told) in found.items()}


def heating() -> tuple[list[Atoms], list[float]]:
    """Copper under its own forces, the thermostat from 300 to 2000 K; frames and what the thermostat is set to."""
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.calc = EMT()
    rng = np.random.RandomState(3)
    MaxwellBoltzmannDistribution(atoms, temperature_K=600, rng=rng)
    run = Langevin(atoms, 4 * units.fs, temperature_K=300, friction=0.03, rng=rng, fixcm=False)
    frames, kelvin = [], np.linspace(300, 2000, N_STEPS)
    for t in kelvin:
        run.set_temperature(temperature_K=t)
        run.run(40)
        frames.append(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True))
    return frames, kelvin.tolist()


PANELS = {
    "ethanol": ("O-H bond of ethanol, Å (learnt at 300 K)", "force on H"),
    "crystal": ("copper, lengths over those learnt", "forces"),
    "dimer": ("two copper atoms (learnt: crystals), Å", "forces"),
    "heated": ("copper heated, K (learnt at 300 K)", "forces"),
}


def draw(result: dict[str, Any]) -> None:
    """Error and std both ways, panel by panel."""
    figure, axes = plt.subplots(2, 2, figsize=(8.5, 6.5), layout="constrained")
    for axis, (name, (label, what)) in zip(axes.flat, PANELS.items(), strict=True):
        r = result[name]
        axis.plot(r["at"], r["error"], "k.-", markersize=4, linewidth=0.8, label="rms error")
        for way, colour in zip(WAYS, ("#0072B2", "#D55E00"), strict=True):
            axis.plot(r["at"], r[f"std_{way}"], color=colour, label=f"rms std, {way}")
        axis.set(xlabel=label, ylabel=f"{what}, eV/Å", yscale="log")
    axes[0, 0].legend(fontsize=8)
    figure.savefig(figure_path("scans"), dpi=110)


PARTS: dict[str, Callable[[], dict[str, Any]]] = {"ethanol": ethanol, "copper": copper}


def main(arguments: Sequence[str]) -> None:
    """Measure the named parts."""
    parts = some_of("error_bars scans", __doc__, PARTS, arguments)
    clock, result = Clock(), {}
    for name in parts:
        found = PARTS[name]()
        result |= found if name == "copper" else {name: found}
    for name, r in result.items():
        shares = {way: np.mean(r[f"inside_{way}"]) for way in WAYS}
        print(name, ", ".join(f"{way}: {100 * share:.0f} % of components inside" for way, share in shares.items()))
    if set(parts) == set(PARTS):
        draw(result)
        write_result("error_bars/scans", {**result, **clock.read()})

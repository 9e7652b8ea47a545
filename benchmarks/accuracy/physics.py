"""Forces and stress against central differences, energy conservation, and smoothness through the cutoff.

    python -m benchmarks accuracy physics            # 20 ps of NVE, a few minutes; --ps 2 for a look

Fits silicon (Zuo et al.) with the settings of accuracy/results/settings_Si.json and M = 300, then measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet

from benchmarks.shared.command_line import Parser
from benchmarks.shared.datasets import DATASETS, Setting
from benchmarks.shared.results import read_result, write_result
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import Clock
from kernpot import SparseGPPotential

SMOKE = Smoke(arguments=("--ps", "0.05"))


def differences(gp: SparseGPPotential, atoms: Atoms) -> dict[str, float]:
    """Largest deviation of forces and stress from 4th-order central differences, relative to the largest component.

    Each is taken at the step where it is smallest: larger steps let pairs cross the cutoff, where the weighting has a
    kink in its second derivative; smaller ones show the rounding of the energy.
    """
    atoms = atoms.copy()
    atoms.calc = gp.calculator(skin=0.0)
    forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)

    def slope(move: Callable[[float], Atoms], h: float) -> float:
        e = [gp.mean(move(s * h)).energy for s in (-2, -1, 1, 2)]
        return (e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * h)

    def displaced(i: int, k: int) -> Callable[[float], Atoms]:
        def move(h: float) -> Atoms:
            frame = atoms.copy()
            frame.positions[i, k] += h
            return frame

        return move

    def strained(a: int, b: int) -> Callable[[float], Atoms]:
        def move(h: float) -> Atoms:
            frame = atoms.copy()
            strain = np.zeros((3, 3))
            strain[a, b] += h / 2
            strain[b, a] += h / 2
            frame.set_cell(frame.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            return frame

        return move

    force_errors = [
        max(abs(slope(displaced(i, k), h) + forces[i, k]) for i in (0, 7, 20 % len(atoms)) for k in range(3))
        for h in (2e-3, 1e-3, 5e-4)
    ]
    stress_errors = [
        max(
            abs(slope(strained(a, b), h) / atoms.get_volume() - stress[a, b])
            for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2))
        )
        for h in (1e-3, 5e-4, 2.5e-4)
    ]
    return {
        "force": min(force_errors) / float(np.abs(forces).max()),
        "stress": min(stress_errors) / float(np.abs(stress).max()),
    }


def crossing(gp: SparseGPPotential) -> dict[str, float]:
    """Largest step of energy and force when a second atom crosses the cutoff, against the steps next to it."""
    r = gp.cutoff + np.linspace(-0.02, 0.02, 81)
    energy, force = [], []
    for distance in r:
        pair = Atoms("Si2", positions=[[0, 0, 0], [distance, 0, 0]], pbc=False)
        p = gp.mean(pair)
        energy.append(p.energy)
        force.append(p.forces[0, 0])
    de, df = np.abs(np.diff(energy)), np.abs(np.diff(force))
    return {
        "largest_energy_step_eV": float(de.max()),
        "largest_force_step_eV_A": float(df.max()),
        "step_A": float(r[1] - r[0]),
    }


def conservation(gp: SparseGPPotential, ps: float, temperature: float = 600.0) -> dict[str, float]:
    """Drift of the total energy in NVE of 64 silicon atoms, meV/atom: a straight line through the run."""
    atoms = bulk("Si", "diamond", a=5.43, cubic=True) * (2, 2, 2)
    atoms.calc = gp.calculator()
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature, rng=np.random.default_rng(0))
    Stationary(atoms)
    dynamics = VelocityVerlet(atoms, timestep=1.0 * units.fs)
    times, energies, temperatures = [], [], []

    def record() -> None:
        times.append(dynamics.get_time() / units.fs)
        energies.append(atoms.get_total_energy() / len(atoms))
        temperatures.append(atoms.get_temperature())

    dynamics.attach(record, interval=10)
    clock = Clock()
    dynamics.run(int(1000 * ps))
    slope = np.polyfit(times, energies, 1)[0]
    return {
        "ps": ps,
        "drift_meV_atom": float(1e3 * slope * (times[-1] - times[0])),
        "std_meV_atom": float(1e3 * np.std(energies)),
        "mean_temperature_K": float(np.mean(temperatures)),
        "ms_per_step": 1e3 * clock.read()["wall_s"] / (1000 * ps),
    }


def main(arguments: Sequence[str]) -> None:
    """Fit, measure, print and store."""
    parser = Parser("accuracy physics", __doc__)
    parser.add_argument("--ps", type=float, default=20.0)
    ps = parser.parse_args(arguments).ps
    setting = Setting.of(read_result("accuracy/settings_Si")["chosen"], n_inducing=300)
    train = DATASETS["Si"].train()
    gp = setting.estimator(["Si"]).fit(train)
    liquid = max(train, key=lambda a: np.abs(a.get_forces()).max())
    result = {"differences": differences(gp, liquid), "crossing": crossing(gp), "nve": conservation(gp, ps)}
    write_result("accuracy/physics", result)
    for name, values in result.items():
        print(name, {k: float(f"{v:.3g}") for k, v in values.items()})

"""What on_the_fly_ethanol.py and long_run.py share: the molecule, its oracle, reference trajectories, the potential.

The oracle is GFN2-xTB (Bannwarth, Ehlert and Grimme, J. Chem. Theory Comput. 15, 1652 (2019)) from the package tblite:
``pip install 'kernpot[oracles]'``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.optimize import BFGS
from dscribe.descriptors import SOAP
from tblite.ase import TBLite

from benchmarks.shared.smoke import Smoke
from kernpot import SOAPKernel, SparseGPPotential
from kernpot.dynamics.oracles import CalculatorOracle

TIMESTEP = 0.5  # fs
SPACING = 100  # steps between frames of a trajectory, 50 fs
EQUILIBRATION = 2000  # steps before the first
SMOKE = Smoke({"SPACING": 5, "EQUILIBRATION": 20})

# accuracy: tblite's factor on its thresholds; 1 leaves errors of 1e-4 eV/A in forces. No cache: an answer must not
# depend on what was asked before.
gfn2 = partial(TBLite, method="GFN2-xTB", accuracy=0.01, verbosity=0, cache_api=False)


def oracle() -> CalculatorOracle:
    """GFN2-xTB takes a millisecond: a process of its own would cost more."""
    return CalculatorOracle(gfn2, isolate=False)


def start() -> Atoms:
    """The one geometry: relaxed ethanol."""
    atoms = molecule("CH3CH2OH")
    atoms.calc = gfn2()
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=300)
    atoms.calc = None
    return atoms


def potential(
    seed: int, n_inducing: int = 1000, r_cut: float = 4.0, sigma: float = 0.3, zeta: int = 2
) -> SparseGPPotential:
    """The potential of these benchmarks; `on_the_fly_ethanol --choose` compares its settings with others."""
    soap = SOAP(
        species=["C", "H", "O"],
        r_cut=r_cut,
        n_max=6,
        l_max=5,
        sigma=sigma,
        periodic=True,
        weighting={"function": "poly", "r0": r_cut, "c": 1.0, "m": 1},
    )
    return SparseGPPotential(soap, n_inducing=n_inducing, kernel=SOAPKernel(zeta), random_state=seed)


def labelled(atoms: Atoms) -> Atoms:
    """A copy with energy and forces of the oracle."""
    frame = atoms.copy()
    frame.calc = gfn2()
    labels = {"energy": frame.get_potential_energy(), "forces": frame.get_forces()}
    frame.calc = SinglePointCalculator(frame, **labels)
    return frame


def trajectory(folder: Path, temperature: float, seed: int, n_frames: int) -> list[Atoms]:
    """Labelled frames of a run of the oracle itself, every 50 fs after the first 1 ps; kept in a file.

    Every step of such a run is a call of the oracle: ``EQUILIBRATION + n_frames * SPACING`` in all.
    """
    path = folder / f"gfn2_{temperature:.0f}K_seed{seed}_{n_frames}.xyz"
    if path.exists():
        return list(read(path, ":"))
    rng = np.random.default_rng([seed, int(temperature)])
    atoms = start()
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
    atoms.set_momenta(np.sqrt(atoms.get_masses() * units.kB * temperature)[:, None] * rng.standard_normal((9, 3)))
    dynamics = Langevin(
        atoms, TIMESTEP * units.fs, temperature_K=temperature, friction=0.01 / units.fs, rng=rng, fixcm=False
    )
    dynamics.run(EQUILIBRATION)
    frames = []
    for _ in range(n_frames):
        dynamics.run(SPACING)
        frame = Atoms(atoms.symbols, atoms.positions - atoms.get_center_of_mass())
        frames.append(labelled(frame))
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, frames, format="extxyz")
    return frames


def force_errors(gp: SparseGPPotential, frames: Sequence[Atoms]) -> np.ndarray:
    """Errors of all force components (n_frames, n_atoms, 3), eV/A."""
    return np.array([gp.mean(a).forces - a.get_forces() for a in frames])

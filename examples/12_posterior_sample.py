"""A sample from the posterior is a potential: relax a crystal and run dynamics with it.

    python examples/12_posterior_sample.py        # a minute; needs pip install 'kernpot[oracles]'

What the labels leave open is a whole family of potentials. Each relaxes solid CO2 to a lattice constant of its own; the
scatter is the error bar, and GFN1-xTB, relaxed as well, tells whether it holds. One of them drives dynamics: it is
conservative, so the energy stays.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase import Atoms, units
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from tblite.ase import TBLite

from kernpot import SparseGPPotential, read_structures
from kernpot.uncertainty import propagate

DATA = Path(__file__).parent / "data" / "dry_ice_gfn1.xyz.gz"

# %% A property
# Any function of a potential will do; this one relaxes a crystal and its cell.


def length(start: Atoms, calculator, fmax: float = 0.01) -> float:
    """Relaxed lattice constant, A: the cube root of the volume."""
    atoms = start.copy()
    atoms.calc = calculator
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=fmax, steps=200)
    return float(atoms.get_volume() ** (1 / 3))


# %% Sixteen potentials
# All agree with the labels about as well; where these are silent, they differ.

frames = read_structures(DATA)
train = [a for a in frames if a.info["split"] == "train" and a.info["config_type"] != "MD900"]
gp = SparseGPPotential(n_inducing=300, random_state=0).fit(train)
draws = gp.sample_potentials(16, random_state=0)
start = next(a for a in train if a.info["config_type"] == "MD300").copy()

# %% A lattice constant with an interval
# Every draw relaxes the crystal for itself.

found = propagate(lambda potential: length(start, potential.calculator()), draws, unit="Å")
low, high = found.interval(0.9)
true = length(start, TBLite(method="GFN1-xTB", accuracy=0.1, verbosity=0))
print(f"lattice constant: {float(found.of_mean):.3f} A, 90 % interval {low:.3f} to {high:.3f} A")
print(f"GFN1-xTB, relaxed itself: {true:.3f} A")

# %% Dynamics under one of them
# A draw has energies, forces and stress that belong together, so the total energy stays.

atoms = start.copy()
atoms.calc = draws[0].calculator()
spread = np.sqrt(atoms.get_masses() * units.kB * 100)  # of momenta at 100 K
atoms.set_momenta(spread[:, None] * np.random.default_rng(0).standard_normal((len(atoms), 3)))
dynamics, energies = VelocityVerlet(atoms, units.fs), []
dynamics.attach(lambda: energies.append([atoms.get_potential_energy(), atoms.get_total_energy()]))
dynamics.run(500)
potential, total = 1e3 * (np.array(energies) - np.array(energies)[0, 1]).T / len(atoms)
print(f"500 fs under one draw: the potential energy varies by {np.ptp(potential):.1f} meV/atom, the total by ", end="")
print(f"{np.ptp(total):.3f}")

# %% Draws and dynamics
# The histogram has one entry a draw.

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
left.hist(found.values, bins=8, color="0.7", label="16 draws")
left.axvspan(low, high, color="C0", alpha=0.2, label="90 % interval")
left.axvline(true, color="C3", linestyle="--", label="GFN1-xTB")
left.set(xlabel="relaxed lattice constant, Å", ylabel="draws", title="solid CO2")
left.legend()
right.plot(potential, label="potential energy")
right.plot(total, label="total energy")
right.set(xlabel="time, fs", ylabel="meV per atom", title="dynamics under one draw")
right.legend()
figure.savefig("12_posterior_sample.png", dpi=130)

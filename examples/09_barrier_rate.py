"""A barrier and a rate with intervals: ammonia turns inside out.

    python examples/09_barrier_rate.py        # seconds; needs pip install 'kernpot[oracles]'

A potential learns GFN2-xTB from displaced geometries between the pyramid and the plane. A nudged elastic band finds the
path of its mean; the barrier of every draw gives the interval, and the interval of the barrier that of the rate.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS
from tblite.ase import TBLite

from kernpot import SparseGPPotential
from kernpot.properties import Barrier, PathEnergies, arrhenius, minimum_energy_path
from kernpot.uncertainty import propagate

# %% The quantum code
# Every geometry is labelled by GFN2-xTB.


def labelled(atoms: Atoms) -> Atoms:
    """With energy and forces of GFN2-xTB."""
    atoms = atoms.copy()
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
    values = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    atoms.calc = SinglePointCalculator(atoms, **values)
    return atoms


# %% Sixty geometries
# Between the pyramid, the plane and the pyramid upside down, with noise on every coordinate.

pyramid = molecule("NH3")
pyramid.calc = TBLite(method="GFN2-xTB", verbosity=0)
BFGS(pyramid, logfile=None).run(fmax=0.005, steps=100)
pyramid.calc = None
pyramid.positions -= pyramid.positions[1:].mean(0)
inverted = pyramid.copy()
inverted.positions[:, 2] *= -1

rng, train = np.random.default_rng(0), []
for height in rng.uniform(-1.2, 1.2, 60):
    atoms = pyramid.copy()
    atoms.positions[:, 2] *= height
    atoms.rattle(0.06, rng=rng)
    train.append(labelled(atoms))
gp = SparseGPPotential(n_inducing=200, random_state=0).fit(train)

# %% The path, its barrier, a rate
# The path is the mean's; energies along it, the barrier and an Arrhenius rate have intervals from the draws.

path = minimum_energy_path(gp, pyramid, inverted, n_images=7)
draws = gp.sample_potentials(24, random_state=0)
profile, barrier = propagate(PathEnergies(path), draws), propagate(Barrier(path), draws)
true = np.array([labelled(a).get_potential_energy() for a in path])
low, high = barrier.interval(0.9)
rate = arrhenius(barrier, 300.0)
print(f"{len(train)} labels; barrier {float(barrier.of_mean):.4f} eV, 90 % interval {low:.4f} to {high:.4f} eV")
print(f"GFN2-xTB at the top of this path: {true.max() - true[0]:.4f} eV")
slow, fast = rate.interval(0.9)
print(f"rate at 300 K, without tunnelling: {rate.median:.2e} /s, 90 % interval {slow:.2e} to {fast:.2e} /s")

# %% The profile and the draws
# The dashed line is what GFN2-xTB says at the top of the same path.

heights = [a.positions[0, 2] - a.positions[1:, 2].mean() for a in path]
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
ends = profile.interval(0.9)
left.fill_between(heights, *(1e3 * e for e in ends), alpha=0.4, label="90 % interval")
left.plot(heights, 1e3 * profile.of_mean, "o-", label="kernpot")
left.plot(heights, 1e3 * (true - true[0]), "kx", label="GFN2-xTB")
left.set(xlabel="height of N above the hydrogens, Å", ylabel="energy, meV", title="ammonia turns inside out")
left.legend()
right.hist(1e3 * barrier.values, bins=8, color="0.7", label="draws")
right.axvspan(1e3 * low, 1e3 * high, color="C0", alpha=0.2, label="90 % interval")
right.axvline(1e3 * (true.max() - true[0]), color="C3", linestyle="--", label="GFN2-xTB")
right.set(xlabel="barrier, meV", ylabel="draws")
right.legend()
figure.savefig("09_barrier_rate.png", dpi=130)

"""Error bars along a torsion and a bond: narrow where the data are, wide beyond them.

    python examples/02_scans.py        # half a minute; needs pip install 'kernpot[oracles]'

Ethanol is learnt at 300 K. Its O-H group is then turned about the C-O bond, and the O-H bond stretched far beyond what
a molecule at 300 K does; GFN2-xTB is asked along the way, to see whether the intervals hold.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase import Atoms
from ase.optimize import BFGS
from dscribe.descriptors import SOAP
from tblite.ase import TBLite

from kernpot import SparseGPPotential, read_structures

DATA = Path(__file__).parent / "data" / "ethanol_gfn2.xyz.gz"

# %% What is compared
# Means and intervals of the potential along a scan, and the truth.


def energies(gp: SparseGPPotential, scan: list[Atoms]) -> tuple[np.ndarray, ...]:
    """Means, standard deviations and ends of 90 % intervals, eV."""
    found = [p.energy for p in gp.predict_full(scan)]
    ends = [q.interval(0.9) for q in found]
    columns = ([q.mean for q in found], [q.std for q in found], [e[0] for e in ends], [e[1] for e in ends])
    return tuple(np.array(c, dtype=float).ravel() for c in columns)


def reference(atoms: Atoms) -> float:
    """GFN2-xTB, eV."""
    copy = atoms.copy()
    copy.calc = TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
    return float(copy.get_potential_energy())


# %% A potential that knows 300 K
# Only molecules of the cooler trajectories are learnt.

frames = [a for a in read_structures(DATA) if a.info["config_type"] in ("isolated_atom", "MD300")]
train = [a for a in frames if a.info["split"] == "train"]
weighting = {"function": "poly", "r0": 4.0, "c": 1.0, "m": 1}
# Narrow Gaussians: half the error on structures left out of the fit that the default descriptor has.
soap = SOAP(species=["C", "H", "O"], r_cut=4.0, n_max=6, l_max=5, sigma=0.3, periodic=True, weighting=weighting)
gp = SparseGPPotential(soap, n_inducing=600, random_state=0).fit(train)

# %% Two scans
# The O-H group is turned about the C-O bond, which molecules at 300 K do, and the O-H bond stretched, which they do
# not.

start = train[-1].copy()
start.calc = gp.calculator()
BFGS(start, logfile=None).run(fmax=0.01, steps=300)
oxygen = int(np.flatnonzero(start.numbers == 8)[0])
hydrogens, carbons = np.flatnonzero(start.numbers == 1), np.flatnonzero(start.numbers == 6)
hydrogen = int(hydrogens[np.argmin(start.get_distances(oxygen, hydrogens))])
order = np.argsort(start.get_distances(oxygen, carbons))
near, far = (int(c) for c in carbons[order])

angles, turned = np.linspace(0, 360, 37), []
for angle in angles:
    atoms = start.copy()
    atoms.set_dihedral(far, near, oxygen, hydrogen, float(angle), indices=[hydrogen])
    turned.append(atoms)
lengths, stretched = np.linspace(0.8, 1.6, 33), []
for length in lengths:
    atoms = start.copy()
    atoms.set_distance(oxygen, hydrogen, float(length), fix=0)
    stretched.append(atoms)
seen = [a.get_distance(oxygen, hydrogen) for a in train if len(a) > 1]

# %% Inside the data and beyond
# Where the truth leaves the mean, the interval should have grown wide enough to hold it.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
print("                    largest error   its std   90 % intervals hold")
for axis, x, scan, name in ((left, angles, turned, "torsion"), (right, lengths, stretched, "O-H bond")):
    mean, std, low, high = energies(gp, scan)
    true = np.array([reference(a) for a in scan])
    zero = true.min()
    axis.fill_between(x, low - zero, high - zero, alpha=0.3, label="90 % interval")
    axis.plot(x, mean - zero, label="kernpot")
    axis.plot(x, true - zero, "k--", linewidth=1, label="GFN2-xTB")
    worst = int(np.argmax(np.abs(mean - true)))
    inside = np.mean((low <= true) & (true <= high))
    print(f"{name:18}  {abs(mean - true)[worst]:10.3f} eV {std[worst]:8.3f} eV {100 * inside:15.0f} %")
left.set(xlabel="C-C-O-H torsion, degrees", ylabel="energy, eV", ylim=(-0.05, 0.25))
right.set(xlabel="O-H distance, Å", ylim=(-0.5, 6))
right.axvspan(min(seen), max(seen), color="0.9", zorder=0, label="lengths in the data")
left.legend()
right.legend()
figure.savefig("02_scans.png", dpi=130)

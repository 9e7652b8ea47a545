"""Which uncertainty is this? One bond stretched out of the data, and four numbers that all get called uncertainty.

    python examples/03_which_uncertainty.py        # half a minute; needs pip install 'kernpot[oracles]'

For the force along the O-H bond of ethanol: `epistemic_std` (what more data would remove), `std` (what a new label
would differ by, misfit included), the spread of posterior draws, and `novelty`, which has no unit and is no error.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from dscribe.descriptors import SOAP
from tblite.ase import TBLite

from kernpot import SparseGPPotential, read_structures

DATA = Path(__file__).parent / "data" / "ethanol_gfn2.xyz.gz"

# %% A potential that knows 300 K
# As in the scan of the same bond, only molecules of the cooler trajectories are learnt.

frames = [a for a in read_structures(DATA) if a.info["config_type"] in ("isolated_atom", "MD300")]
train = [a for a in frames if a.info["split"] == "train"]
weighting = {"function": "poly", "r0": 4.0, "c": 1.0, "m": 1}
# Narrow Gaussians: half the error on structures left out of the fit that the default descriptor has.
soap = SOAP(species=["C", "H", "O"], r_cut=4.0, n_max=6, l_max=5, sigma=0.3, periodic=True, weighting=weighting)
gp = SparseGPPotential(soap, n_inducing=600, random_state=0).fit(train)

# %% One bond, drawn out
# The hydrogen of the hydroxyl group leaves its oxygen; everything else stays.

start = train[-1].copy()
oxygen = int(np.flatnonzero(start.numbers == 8)[0])
hydrogens = np.flatnonzero(start.numbers == 1)
hydrogen = int(hydrogens[np.argmin(start.get_distances(oxygen, hydrogens))])
lengths, scan = np.linspace(0.85, 1.5, 27), []
for length in lengths:
    atoms = start.copy()
    atoms.calc = None
    atoms.set_distance(oxygen, hydrogen, float(length), fix=0)
    scan.append(atoms)

# %% Four numbers
# Of the force on that hydrogen, along the axis nearest the bond: what more data would remove, what a new label would
# differ by, how far draws of the posterior lie apart; and how new the environment is, whatever that does to errors.

predictions, draws = gp.predict_full(scan), gp.sample_potentials(40, random_state=0)
new = [n.distance[hydrogen] for n in gp.novelty(scan)]
error, epistemic, full, spread = [], [], [], []
for atoms, p in zip(scan, predictions, strict=True):
    k = int(np.argmax(np.abs(atoms.positions[hydrogen] - atoms.positions[oxygen])))  # the axis nearest the bond
    truth = atoms.copy()
    truth.calc = TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
    error.append(abs(p.forces.mean[hydrogen, k] - truth.get_forces()[hydrogen, k]))
    epistemic.append(p.forces.epistemic_std[hydrogen, k])
    full.append(p.forces.std[hydrogen, k])
    spread.append(draws.evaluate(atoms).forces[:, hydrogen, k].std())

# %% Which of them follows the error?
# Only numbers in eV/A can be compared with an error; novelty tells no more than that something is new.

figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained", height_ratios=[2, 1])
seen = [a.get_distance(oxygen, hydrogen) for a in train if len(a) > 1]
for axis in (top, bottom):
    axis.axvspan(min(seen), max(seen), color="0.92", zorder=0)
top.semilogy(lengths, error, "k.", label="|error| against GFN2-xTB")
top.semilogy(lengths, epistemic, label="epistemic_std")
top.semilogy(lengths, full, label="std")
top.semilogy(lengths, spread, "--", label="spread of 40 draws")
top.set(ylabel="force on H, eV/Å", title="O-H bond of ethanol; shaded: lengths in the data")
top.legend()
bottom.plot(lengths, new, color="C4")
bottom.set(xlabel="O-H distance, Å", ylabel="novelty (distance)")
figure.savefig("03_which_uncertainty.png", dpi=130)
print("  O-H, A   |error|   epistemic_std   std   spread of draws   (eV/A)   novelty")
for i in range(0, len(lengths), 4):
    row = f"{error[i]:9.3f} {epistemic[i]:15.3f} {full[i]:5.3f} {spread[i]:17.3f} {new[i]:18.3f}"
    print(f"{lengths[i]:8.2f} {row}")

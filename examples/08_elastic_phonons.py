"""Error bars on what is computed: elastic constants and phonon bands of silicon, against the DFT that was learnt.

    python examples/08_elastic_phonons.py        # seconds; needs pip install 'kernpot[properties]'

Every draw from the posterior is a potential with elastic constants and phonons of its own; their scatter is the error
bar. The elastic constants (clamped ions, at the lattice constant of the data) are also taken from DFT itself, by
differences of its stresses under pure strains, which the fit has not seen.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase import units
from ase.build import bulk
from dscribe.descriptors import SOAP

from kernpot import SparseGPPotential, read_structures
from kernpot.properties import ElasticConstants, LatticeConstants, PhononModes, cubic_constants, signed_root
from kernpot.uncertainty import propagate

DATA = Path(__file__).parent / "data" / "silicon_pbe.xyz.gz"
STRAIN = 0.005  # of the pure strains in the data

# %% A potential, and draws from it
# The radial weighting has smooth derivatives, which phonons need. Each of the draws is a potential of its own that
# agrees with the data as well as the mean does.

frames = read_structures(DATA)
train = [a for a in frames if a.info["split"] == "train"]
deformed = {a.info["config_type"]: a for a in frames if a.info["split"] == "deform"}
weighting = {"function": "poly", "r0": 5.5, "c": 1.0, "m": 2}  # smooth derivatives of forces, for phonons
soap = SOAP(species=["Si"], r_cut=5.5, n_max=6, l_max=5, sigma=0.4, periodic=True, weighting=weighting)
draws = SparseGPPotential(soap, n_inducing=300, random_state=0).fit(train).sample_potentials(24, random_state=0)

# %% Lattice and elastic constants
# `propagate` computes a property for the mean and for every draw. The elastic constants of DFT are differences of its
# own stresses.

perfect = deformed["strain none +0"]
lattice = propagate(LatticeConstants(bulk("Si", a=5.47, cubic=True)), draws).map(lambda x: x[0])
print(f"lattice constant      {lattice}")
elastic = propagate(ElasticConstants(perfect, relax_ions=False), draws).map(cubic_constants)
slope = {
    name: (deformed[f"strain {name} +1"].get_stress() - deformed[f"strain {name} -1"].get_stress()) / (2 * STRAIN)
    for name in ("xx", "yz")
}
dft = np.array([slope["xx"][0], slope["xx"][1:3].mean(), slope["yz"][3]]) / units.GPa
low, high = elastic.interval(0.9)
for k, name in enumerate(("C11", "C12", "C44, clamped")):
    print(f"{name:13} {elastic.of_mean[k]:7.1f} GPa, 90 % {low[k]:6.1f} to {high[k]:6.1f};  DFT {dft[k]:6.1f}")

# %% Phonon bands
# At the lattice constant of the mean, along a path of wave vectors.

crystal = bulk("Si", a=float(lattice.of_mean))
path = crystal.cell.bandpath("GXKGL", npoints=90)
modes = propagate(PhononModes(crystal, (3, 3, 3), path.kpts), draws)
x, marks, labels = path.get_linear_kpoint_axis()
below, above = (signed_root(q) for q in modes.quantiles(0.9))

# %% Bands of draws
# Shaded is what 90 % of the draws hold at every wave vector.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", width_ratios=[2, 1])
for band, (a, b) in enumerate(zip(below.T, above.T, strict=True)):
    left.fill_between(x, a, b, color="C0", alpha=0.4, label=None if band else "90 % of the draws")
left.plot(x, signed_root(modes.of_mean), "k", linewidth=0.7)
left.set(xticks=marks, xticklabels=[t.replace("G", "Γ") for t in labels], xlim=(x[0], x[-1]), ylim=(0, None))
left.set(ylabel="frequency, THz", title="phonons of silicon")
left.legend(loc="lower right")
right.errorbar(range(3), elastic.mean, [elastic.mean - low, high - elastic.mean], fmt="o", capsize=4, label="kernpot")
right.plot(np.arange(3) + 0.15, dft, "x", color="C3", label="DFT")
right.set(xticks=range(3), xticklabels=["C11", "C12", "C44"], ylabel="GPa", xlim=(-0.5, 2.5), ylim=(0, None))
right.set_title("elastic constants, 90 %")
right.legend()
top = signed_root(modes.values[:, 0, -1])
print(f"optical mode at Γ     {signed_root(modes.of_mean)[0, -1]:.2f} THz, std of the draws {top.std(ddof=1):.2f}")
figure.savefig("08_elastic_phonons.png", dpi=130)

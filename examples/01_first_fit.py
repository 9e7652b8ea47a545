"""A first fit: ethanol from 200 calculations, every force on new geometries with its error bar.

    python examples/01_first_fit.py        # half a minute

The carried data are GFN2-xTB. The picture shows predicted against true force components, and whether errors are as
large as the standard deviations say.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from kernpot import SparseGPPotential, read_structures

DATA = Path(__file__).parent / "data" / "ethanol_gfn2.xyz.gz"


def _inside(quantity, true):
    low, high = quantity.interval(0.9)
    return (low <= true) & (true <= high)


# %% Data, and a fit
# The data say themselves what is for training and what for testing: no trajectory has frames in both. A potential is
# an estimator of scikit-learn that takes ASE structures; noise, amplitudes and the width of its intervals it finds
# itself.

frames = read_structures(DATA)
train = [a for a in frames if a.info["split"] == "train"]
test = [a for a in frames if a.info["split"] == "test"]
gp = SparseGPPotential(n_inducing=300, random_state=0).fit(train)

# %% Predictions are distributions
# Every energy, force and stress has a mean, a standard deviation and intervals.

predictions = gp.predict_full(test)
true = np.concatenate([a.get_forces().ravel() for a in test])
mean = np.concatenate([p.forces.mean.ravel() for p in predictions])
std = np.concatenate([p.forces.std.ravel() for p in predictions])

# %% How large the errors are, and whether the intervals hold
# The share of force components inside their 90 % intervals should be 90 %.

error = mean - true
per_atom = [1e3 * (p.energy.mean - a.get_potential_energy()) / len(a) for p, a in zip(predictions, test, strict=True)]
inside = np.mean([np.mean(_inside(p.forces, a.get_forces())) for p, a in zip(predictions, test, strict=True)])
print(f"{len(train)} structures learnt, {len(test)} predicted")
print(f"energy: mean absolute error {np.mean(np.abs(per_atom)):.2f} meV/atom")
print(f"forces: mean absolute error {np.mean(np.abs(error)):.3f} eV/A")
print(f"90 % intervals hold {100 * inside:.0f} % of the force components")

# %% Are errors as large as the standard deviations say?
# On the right the components are sorted by their standard deviation and cut into twelfths; the rms error of each
# should lie on the line.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
left.errorbar(true, mean, std, fmt=".", ms=2, elinewidth=0.4, alpha=0.5)
ends = [true.min(), true.max()]
left.plot(ends, ends, color="0.3", linewidth=0.8)
left.set(xlabel="GFN2-xTB, eV/Å", ylabel="kernpot, eV/Å", title="force components on new geometries")
order = np.argsort(std)
groups = np.array_split(order, 12)
right.loglog(std, np.abs(error), ".", ms=2, color="0.75", label="components")
predicted = [np.sqrt(np.mean(std[g] ** 2)) for g in groups]
right.loglog(predicted, [np.sqrt(np.mean(error[g] ** 2)) for g in groups], "o-", label="rms of twelfths")
right.loglog(predicted, predicted, color="0.3", linewidth=0.8)
right.set(xlabel="standard deviation, eV/Å", ylabel="error, eV/Å", title="are errors as large as they say?")
right.set_ylim(1e-4, None)
right.legend()
figure.savefig("01_first_fit.png", dpi=130)

"""Settings by cross-validation: a potential is an estimator of scikit-learn.

    python examples/05_grid_search.py        # a minute

Cutoff and number of inducing environments for ethanol, chosen on the training part alone; trajectories stay whole, so
that no fold is tested on neighbours in time of what it has learnt. The test part is opened once, for the choice.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from dscribe.descriptors import SOAP
from sklearn.model_selection import GridSearchCV, GroupKFold

from kernpot import SparseGPPotential, read_structures

DATA = Path(__file__).parent / "data" / "ethanol_gfn2.xyz.gz"
CUTOFFS, INDUCING = (3.0, 4.0, 5.0), (50, 100, 200)

# %% What is varied, and how it is judged
# Any scoring function of scikit-learn will do; here it is the rms error of forces.


def soap(cutoff: float) -> SOAP:
    """A smooth descriptor."""
    weighting = {"function": "poly", "r0": cutoff, "c": 1.0, "m": 1}
    return SOAP(species=["C", "H", "O"], r_cut=cutoff, n_max=5, l_max=4, sigma=0.4, periodic=True, weighting=weighting)


def force_error(gp: SparseGPPotential, frames, _energies=None) -> float:
    """Minus the rms error of forces (scikit-learn maximises), eV/A."""
    return -float(np.sqrt(np.mean([np.mean((gp.mean(a).forces - a.get_forces()) ** 2) for a in frames])))


# %% The search
# Trajectories stay whole, as groups: frames that are neighbours in time are copies of each other, and would make every
# fold look good.

frames = [a for a in read_structures(DATA) if len(a) > 1]
train = [a for a in frames if a.info["split"] == "train"][::2]
test = [a for a in frames if a.info["split"] == "test"]
grid = {"descriptor": [soap(r) for r in CUTOFFS], "n_inducing": list(INDUCING)}
search = GridSearchCV(SparseGPPotential(random_state=0), grid, scoring=force_error, cv=GroupKFold(3))
search.fit(train, groups=[a.info["trajectory"] for a in train])

# %% What was chosen
# The test part is opened once, for the choice.

errors = -search.cv_results_["mean_test_score"].reshape(len(CUTOFFS), len(INDUCING))
print("rms force error of cross-validation, eV/A")
print("cutoff, A " + "".join(f"{m:>9} inducing" for m in INDUCING))
for cutoff, row in zip(CUTOFFS, errors, strict=True):
    print(f"{cutoff:9} " + "".join(f"{e:18.3f}" for e in row))
best = search.best_params_
print(f"chosen: cutoff {best['descriptor']._r_cut} A, {best['n_inducing']} inducing environments")
print(f"test part, opened once: {-force_error(search.best_estimator_, test):.3f} eV/A")

# %% The table as a picture
# More inducing environments help at every cutoff; the shortest cutoff makes the most of few.

figure, axis = plt.subplots(figsize=(5.5, 4), layout="constrained")
picture = axis.imshow(1e3 * errors, cmap="viridis_r")
for i, row in enumerate(errors):
    for j, e in enumerate(row):
        axis.text(j, i, f"{1e3 * e:.0f}", ha="center", va="center", color="w")
axis.set(xticks=range(3), xticklabels=INDUCING, yticks=range(3), yticklabels=CUTOFFS)
axis.set(xlabel="inducing environments", ylabel="cutoff, Å", title="rms force error left out, meV/Å")
figure.colorbar(picture)
figure.savefig("05_grid_search.png", dpi=130)

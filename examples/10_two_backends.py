"""Gaussian process or neural networks? Both on the same data, where the data are and where it is hotter.

    python examples/10_two_backends.py        # half a minute

Ethanol at 300 K is learnt by both backends, behind one interface. At 600 K, which neither has seen, errors grow; the
question is whether the error bars grow with them.
"""

from __future__ import annotations

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from kernpot import NNPEnsemble, SparseGPPotential, read_structures
from kernpot.uncertainty import evaluate

DATA = Path(__file__).parent / "data" / "ethanol_gfn2.xyz.gz"

# %% The same data for both
# At 300 K for learning, at 300 K and 600 K for testing.

frames = read_structures(DATA)
train = [a for a in frames if a.info["split"] == "train" and a.info["config_type"] != "MD600"]
groups = {
    t: [a for a in frames if a.info["split"] == "test" and a.info["config_type"] == t] for t in ("MD300", "MD600")
}

# %% Two backends, one interface
# Whatever is done with a potential here is done with either.

potentials = {
    "Gaussian process": SparseGPPotential(n_inducing=500, random_state=0),
    "networks": NNPEnsemble(hidden=(24, 24), n_members=4, max_epochs=150, random_state=0),
}

# %% Fit, and judge by what the error bars promise
# Test components are sorted by their standard deviation and cut into tenths. Points on the line are honest; above it
# errors are larger than said.

figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.2), sharex=True, sharey=True, layout="constrained")
print("                    group    fit, s   energy, meV/atom   forces, eV/A   90 % of forces")
for axis, (name, potential) in zip(axes, potentials.items(), strict=True):
    begun = time.perf_counter()
    potential.fit(train)
    seconds = time.perf_counter() - begun
    for colour, (group, structures) in zip(("C0", "C3"), groups.items(), strict=True):
        result = evaluate(potential, structures)
        rows = {row.kind: row for row in result.metrics if row.config_type == "all"}
        errors = f"{rows['energy'].mae:16.2f} {rows['forces'].mae:14.3f}"
        print(f"{name:18}  {group} {seconds:8.0f} {errors} {100 * rows['forces'].coverage[0.9]:14.0f} %")
        found = result.comparisons["forces"]
        parts = np.array_split(np.argsort(found.std), 10)
        std, error = ([np.sqrt(np.mean(x[p] ** 2)) for p in parts] for x in (found.std, found.error))
        axis.loglog(std, error, "o-", color=colour, label=f"{group[2:]} K")
    ends = np.array([0.01, 0.5])
    axis.loglog(ends, ends, color="0.4", linewidth=0.8)
    axis.set(title=name, xlabel="predicted std, eV/Å (tenths of the components)")
    axis.legend()
axes[0].set_ylabel("rms error, eV/Å")
figure.savefig("10_two_backends.png", dpi=130)

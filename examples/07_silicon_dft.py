"""Silicon from density-functional theory: how many calculations, for what error, and a fit that knows it.

    python examples/07_silicon_dft.py        # a quarter of a minute

The carried data are PBE, by Quantum ESPRESSO (`examples/data/silicon.py` computes them): strained cells of eight atoms
with displaced atoms. For growing numbers of calculations the picture compares the error on others with what the fit
says of itself, from structures left out of it in closed form.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase import units

from kernpot import SparseGPPotential, read_structures
from kernpot.uncertainty import evaluate

DATA = Path(__file__).parent / "data" / "silicon_pbe.xyz.gz"
SIZES = (6, 12, 24, 42, 60)

# %% More and more calculations
# A random order of the training part; each fit learns the first so many. The last column needs no test data: the mean
# error of structures left out of the fit in turn, in closed form.

frames = read_structures(DATA)
train = [a for a in frames if a.info["split"] == "train"]
test = [a for a in frames if a.info["split"] == "test"]
order = np.random.default_rng(0).permutation(len(train))
print("DFT runs   energy, meV/atom   forces, eV/A   stress, GPa   90 % of forces   left out of the fit, eV/A")
found, own = [], []
for n in SIZES:
    gp = SparseGPPotential(n_inducing=300, random_state=0).fit([train[k] for k in order[:n]])
    rows = {row.kind: row for row in evaluate(gp, test).metrics if row.config_type == "all"}
    own.append(gp.summary_["hyperparameters"]["leave_one_out"]["mae"]["forces"])
    found.append(rows["forces"].mae)
    errors = f"{rows['energy'].mae:18.2f} {rows['forces'].mae:14.3f} {rows['stress'].mae:13.3f}"
    print(f"{n:8} {errors} {100 * rows['forces'].coverage[0.9]:14.0f} % {own[-1]:21.3f}")

# %% Does the fit know its own error?
# Left, the error on other structures beside the one that the fit tells of itself. Right, stresses of the last fit with
# their intervals.

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
left.plot(SIZES, found, "o-", label="on other structures")
left.plot(SIZES, own, "s--", label="left out of the fit")
left.set(xlabel="DFT calculations", ylabel="mean absolute force error, eV/Å", ylim=(0, None))
left.legend()
stress = [(p.stress, a.get_stress()) for p, a in zip(gp.predict_full(test), test, strict=True)]
mean, std, true = (np.concatenate(x) / units.GPa for x in zip(*((s.mean, s.std, t) for s, t in stress), strict=True))
right.errorbar(true, mean, 1.645 * std, fmt=".", ms=3, elinewidth=0.7)
right.plot([true.min(), true.max()], [true.min(), true.max()], color="0.3", linewidth=0.8)
right.set(xlabel="stress, PBE, GPa", ylabel="kernpot with 90 % intervals, GPa")
figure.savefig("07_silicon_dft.png", dpi=130)

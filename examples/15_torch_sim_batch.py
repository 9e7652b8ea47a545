"""Twenty crystals of dry ice relaxed together in torch-sim, then heated together with the error bars watched.

    python examples/15_torch_sim_batch.py        # a minute

A potential is fitted to the mild part of the carried GFN1-xTB data. Strained cells are relaxed, positions and cells, in
one batch, and one by one in ASE for comparison; then all are run at 300 K and at 900 K, and the standard deviations of
their forces say where the potential no longer knows.

Needs torch-sim: ``pip install 'kernpot[torch-sim]'``.
"""

from __future__ import annotations

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch_sim as ts
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from kernpot import SparseGPPotential, read_structures
from kernpot.engines.torch_sim import KernpotModel

DATA = Path(__file__).parent / "data" / "dry_ice_gfn1.xyz.gz"
FORCE = 0.03  # eV/A

# %% Fit what is mild, and take strained cells
# The model for torch-sim is made of the fitted potential.

structures = [a for a in read_structures(DATA) if len(a) > 1]
mild = [a for a in structures if a.info["split"] == "train" and a.info["config_type"] != "MD900"]
gp = SparseGPPotential(n_inducing=300, random_state=0).fit(mild)
starts = [a.copy() for a in structures if a.info["config_type"] == "strain"][:20]
model = KernpotModel(gp)

# %% Relaxed together
# Positions and cells of all twenty in one batch; ASE does five of them one by one, for comparison.

together = ts.optimize(
    starts,
    model,
    optimizer=ts.frechet_cell_fire,
    convergence_fn=ts.generate_force_convergence_fn(force_tol=FORCE, include_cell_forces=True),
    max_steps=3000,
    steps_between_swaps=10,
)
print(f"{len(starts)} cells relaxed together; the first five in ASE, one by one:")
for atoms, energy in zip(starts[:5], together.energy.tolist(), strict=False):
    relaxed = atoms.copy()
    relaxed.calc = gp.calculator()
    BFGS(FrechetCellFilter(relaxed), logfile=None).run(fmax=FORCE, steps=200)
    print(f"   torch-sim {energy:.4f} eV   ASE {relaxed.get_potential_energy():.4f} eV")

# %% One call for all
# The same energies, forces and stresses, of the batch and of one structure after the other.

volumes = [[a.get_volume() for a in of] for of in (starts, together.to_atoms())]

state, loose, seconds = ts.io.atoms_to_state(starts, model.device, model.dtype), [], {}
for atoms in starts:
    loose.append(atoms.copy())
    loose[-1].calc = gp.calculator()
for what in ("first", "together", "one by one"):  # the first call of each makes neighbour lists
    begun = time.perf_counter()
    for k in range(10):
        state.positions = state.positions + 1e-4 * (-1) ** k
        if what != "one by one":
            model(state)
        else:
            for atoms in loose:
                atoms.positions += 1e-4 * (-1) ** k
                atoms.get_forces()
    seconds[what] = (time.perf_counter() - begun) / 10
ratio = seconds["one by one"] / seconds["together"]
print(f"energies, forces and stress of all: {1e3 * seconds['together']:.0f} ms in one call,", end=" ")
print(f"{1e3 * seconds['one by one']:.0f} ms one by one in ASE ({ratio:.1f} times)")

# %% Heated together
# A tenth of a picosecond at each temperature; then the largest standard deviation of a force in every crystal.

heated = {}
print("\n   T (K)   largest std of a force (eV/A) after 0.1 ps: median and range over the crystals")
for temperature in (300, 600, 900):
    state = ts.integrate(
        together.to_atoms(), model, integrator=ts.nvt_langevin, n_steps=100, temperature=temperature, timestep=0.001
    )
    largest = model.force_std(state).numpy().max(axis=1).reshape(len(starts), -1).max(axis=1)
    heated[temperature] = largest
    print(f"{temperature:8}   {np.median(largest):.3f}   {largest.min():.3f} to {largest.max():.3f}")

# %% Relaxed and heated
# Left, volumes before and after; right, where the potential no longer knows.

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
left.plot(volumes[0], volumes[1], "o", ms=4)
left.plot(volumes[0], volumes[0], color="0.4", linewidth=0.8, label="unchanged")
left.set(xlabel="volume before, Å³", ylabel="volume after, Å³", title="twenty cells relaxed in one batch")
left.legend()
for temperature, largest in heated.items():
    right.plot(np.full(len(largest), temperature), largest, "o", ms=4, alpha=0.6)
right.set(xlabel="temperature, K", ylabel="largest std of a force, eV/Å", title="the same crystals, heated")
figure.savefig("15_torch_sim_batch.png", dpi=130)

"""Twenty crystals of dry ice relaxed together in torch-sim, then heated together with the error bars watched.

    python examples/torch_sim_batch.py        # a minute

A potential is fitted to the mild part of the carried GFN1-xTB data. Strained cells are relaxed, positions and cells, in
one batch, and one by one in ASE for comparison; then all are run at 300 K and at 900 K, and the standard deviations of
their forces say where the potential no longer knows.

Needs torch-sim: ``pip install 'kernpot[torch-sim]'``.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch_sim as ts
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from kernpot import SparseGPPotential, read_structures
from kernpot.engines.torch_sim import KernpotModel

DATA = Path(__file__).parent / "data" / "dry_ice_gfn1.xyz.gz"
FORCE = 0.03  # eV/A


def main() -> None:
    """Fit, relax, heat."""
    structures = [a for a in read_structures(DATA) if len(a) > 1]
    mild = [a for a in structures if a.info["split"] == "train" and a.info["config_type"] != "MD900"]
    gp = SparseGPPotential(n_inducing=300, random_state=0).fit(mild)
    starts = [a.copy() for a in structures if a.info["config_type"] == "strain"][:20]
    model = KernpotModel(gp)

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

    print("\n   T (K)   largest std of a force (eV/A) after 0.1 ps: median and range over the crystals")
    for temperature in (300, 600, 900):
        state = ts.integrate(
            together.to_atoms(), model, integrator=ts.nvt_langevin, n_steps=100, temperature=temperature, timestep=0.001
        )
        largest = model.force_std(state).numpy().max(axis=1).reshape(len(starts), -1).max(axis=1)
        print(f"{temperature:8}   {np.median(largest):.3f}   {largest.min():.3f} to {largest.max():.3f}")


if __name__ == "__main__":
    main()

"""Writes a small model with whatever kernpot is imported, and what it answers: run in checkouts of earlier commits.

`PYTHONPATH=CHECKOUT python make.py NAME` writes ``NAME.kernpot`` and ``NAME.npz`` here. ``first`` was written by commit
1577a9a, ``with_training`` by 9fe1541, ``with_tails`` by 8d016c5; commits of main from 2026-11-20 and 21.
"""

import sys
from pathlib import Path

import numpy as np
from dscribe.descriptors import SOAP

from kernpot import SparseGPPotential, read_structures

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[2] / "examples" / "data" / "dry_ice_gfn1.xyz.gz"

if __name__ == "__main__":
    weighting = {"function": "poly", "r0": 3.0, "c": 1.0, "m": 2}
    soap = SOAP(species=["C", "O"], r_cut=3.0, n_max=3, l_max=2, sigma=0.5, periodic=True, weighting=weighting)
    frames = read_structures(DATA)
    gp = SparseGPPotential(soap, n_inducing=16, random_state=0).fit(frames[:6])
    gp.save(HERE / f"{sys.argv[1]}.kernpot")
    found = [gp.predict_full([atoms])[0] for atoms in frames[40:42]]
    answers = {
        f"{name}.{part}": np.array([getattr(getattr(p, name), part) for p in found])
        for name in ("energy", "forces", "stress")
        for part in ("mean", "std", "epistemic_std")
    }
    np.savez_compressed(HERE / f"{sys.argv[1]}.npz", **answers)

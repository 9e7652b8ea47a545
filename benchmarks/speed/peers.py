"""The other codes: gap_fit and quippy (`pip install quippy-ase`), and FLARE where it is installed.

For silicon GAP has the descriptor of the published potential (Zuo et al. 2020) and learns all structures. gap_fit
keeps the derivatives of all descriptors in memory, about 2 GB for 60 structures of four elements and 20 GB for all:
there it has SOAP of kernpot's size and learns a part of the structures, which its speed does not depend on; the errors
of such a fit mean nothing and are not shown.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from ase.io import write

from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.systems import SYSTEMS


def gap_command(name: str, folder: Path) -> list[str]:
    """gap_fit on energies and forces of a system's training part."""
    system = SYSTEMS[name]
    train = [a for a in DATASETS[name].train() if len(a) > 1]
    if system.gap_structures is not None:
        drawn = np.random.default_rng(0).permutation(len(train))[: system.gap_structures]
        train = [train[k] for k in sorted(drawn)]
    frames = []
    for atoms in train:
        frame = atoms.copy()
        frame.info = {"dft_energy": atoms.get_potential_energy()}
        frame.arrays["dft_force"] = atoms.get_forces()
        if not any(atoms.pbc):
            frame.cell = np.ptp(atoms.positions, axis=0) + 20.0  # quippy asks for a cell; nothing interacts across it
        frames.append(frame)
    path = folder / f"{name}.train.xyz"
    write(path, frames, format="extxyz")
    known = sorted(atomic_numbers[s] for s in system.n_sparse)
    species = f"n_species={len(known)} species_Z={{{{{' '.join(map(str, known))}}}}}"
    soaps = [
        f"soap {system.gap} f0=0.0 Z={atomic_numbers[s]} {species} add_species=F n_sparse={n} "
        "covariance_type=dot_product sparse_method=cur_points"
        for s, n in system.n_sparse.items()
    ]
    e0 = "{" + ":".join(f"{s}:{e}" for s, e in system.e0.items()) + "}"
    return [
        str(Path(sys.executable).with_name("gap_fit")),
        f"atoms_filename={path}",
        "energy_parameter_name=dft_energy",
        "force_parameter_name=dft_force",
        "virial_parameter_name=none",
        f"e0={e0}" if system.e0 else "e0_method=average",
        "default_sigma={0.0005 0.1 0.05 0.0}",
        "do_copy_at_file=F",
        "sparse_separate_file=T",
        "sparse_jitter=1e-8",
        "rnd_seed=1",
        f"gp_file={folder / f'{name}.gap.xml'}",
        f"gap={{{' : '.join(soaps)}}}",
    ]


def flare_calculator(variance: str) -> Any:
    """FLARE's ASE calculator for silicon, of about 1000 environments.

    B2 descriptor (n_max 8, l_max 4, cutoff 5 A) and squared normalised dot product, on energies and forces of every
    4th structure, 20 random environments each: its speed depends on the number of environments, not on that of labels.
    Hyperparameters stay at usual values. The calculator computes variances at every call: ``"SOR"`` are its cheapest,
    ``"DTC"`` hold the full prior variance.

    Raises
    ------
    ImportError
        FLARE is not installed.
    """
    from flare.bffs.sgp import SGP_Wrapper
    from flare.bffs.sgp._C_flare import B2, NormalizedDotProduct
    from flare.bffs.sgp.calculator import SGP_Calculator

    train = DATASETS["Si"].train()
    atom = float(np.mean([a.get_potential_energy() / len(a) for a in train]))
    descriptor = B2("chebyshev", "quadratic", [0.0, 5.0], [], [1, 8, 4], np.full((1, 1), 5.0))
    kernels = [NormalizedDotProduct(2.0, 2)]
    model = SGP_Wrapper(
        kernels, [descriptor], 5.0, 0.1, 0.1, 0.005, {14: 0}, variance, {0: atom}, stress_training=False
    )
    model.kept_kernels = kernels  # the C++ side points at them without owning them
    for atoms in train[::4]:
        model.update_db(atoms, atoms.get_forces(), [20], atoms.get_potential_energy(), mode="random", update_qr=False)
    model.sparse_gp.update_matrices_QR()
    return SGP_Calculator(model)

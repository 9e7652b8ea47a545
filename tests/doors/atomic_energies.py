"""A kind of label of one's own: energies of atoms, as potentials have that are taught by another one."""

import numpy as np

from kernpot.errors import StructureError
from kernpot.structures.kinds import LabelKind


def _check(value, atoms, source):
    energies = np.array(value, dtype=np.float64)
    if energies.shape != (len(atoms),) or not np.isfinite(energies).all():
        raise StructureError(f"{source}: expected {len(atoms)} finite energies of atoms, got shape {energies.shape}.")
    return energies


ATOMIC_ENERGIES = LabelKind(
    name="energies",
    unit="eV",
    shape=lambda n_atoms: (n_atoms,),
    check=_check,
    floor=1e-5,
    start=1e-3,
    expected=0.01,
    unseen=0.05,
    counted="atomic_energies",
    centred=True,
    pooled="surroundings",
)

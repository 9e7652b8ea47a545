"""Forces on all atoms."""

from kernpot.structures.checks import check_forces
from kernpot.structures.kinds.kind import LabelKind

FORCES = LabelKind(
    name="forces",
    unit="eV/Å",
    shape=lambda n_atoms: (n_atoms, 3),
    check=lambda value, atoms, source: check_forces(value, len(atoms), source),
    floor=1e-4,
    start=1e-2,
    expected=0.1,
    unseen=0.1,
    counted="force_components",
    together=3,
    pooled="surroundings",
)

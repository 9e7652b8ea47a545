"""What a structure must be for a property of crystals."""

from __future__ import annotations

from ase import Atoms

from kernpot.errors import StructureError
from kernpot.structures.checks import check_atoms


def require_crystal(atoms: Atoms) -> None:
    """Raise StructureError unless `atoms` is a usable structure periodic in three directions."""
    check_atoms(atoms, "crystal")
    if not atoms.pbc.all():
        raise StructureError(
            f"expected a crystal, periodic in three directions, got pbc = {atoms.pbc.tolist()}.",
            "If it is one, set atoms.pbc = True.",
            'If it is one, write pbc="T T T" into its file.',
        )

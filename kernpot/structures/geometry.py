"""The cell as the neighbour search sees it, and what makes a geometry unusable."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from kernpot.errors import StructureError

MIN_CELL_LENGTH = 0.1
"""Shortest usable periodic cell vector, in Angstrom."""

MIN_CELL_SINE = 1e-3
"""Smallest usable singular value of the periodic cell vectors scaled to unit length."""

MAX_SPREAD = 1e5
"""Largest distance of an atom from the middle of its structure beyond the size of the cell, in Angstrom."""


def periodic_cell(atoms: Atoms) -> np.ndarray:
    """Cell with the vectors of the non-periodic directions set to zero.

    Those vectors say nothing about neighbours, and may be zero, short or parallel to a periodic one.

    Returns
    -------
    ndarray of shape (3, 3), Angstrom
    """
    cell = np.array(atoms.cell.array, dtype=np.float64)
    cell[~np.asarray(atoms.pbc)] = 0.0
    return cell


def check_geometry(atoms: Atoms, source: str) -> None:
    """Require finite positions and a cell that spans its periodic directions.

    Raises
    ------
    StructureError
        Positions or cell are NaN or infinite; atoms are absurdly far apart; a periodic direction has no cell vector;
        the periodic cell vectors are linearly dependent, i.e. the cell has zero volume.
    """
    bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
    if bad.size:
        raise StructureError(
            f"{source}: atom {bad[0]} has position {atoms.positions[bad[0]]}, expected finite numbers in Angstrom"
            f" ({bad.size} of {len(atoms)} atoms are affected); remove or repair this structure."
        )
    if not np.isfinite(atoms.cell.array).all():
        raise StructureError(
            f"{source}: the cell {atoms.cell.array.tolist()} is not finite; remove or repair this structure."
        )
    if len(atoms):
        # A search over such distances overflows the boxes it is made with.
        distance = np.abs(atoms.positions - np.median(atoms.positions, axis=0)).max(axis=1)
        if distance.max() > MAX_SPREAD + np.abs(atoms.cell.array).sum():
            far = int(distance.argmax())
            raise StructureError(
                f"{source}: atom {far} at {atoms.positions[far]} is {distance[far]:.3g} A from the middle of the"
                f" structure, expected at most {MAX_SPREAD:g} A; the structure has come apart (did the dynamics blow"
                " up?)."
            )
    pbc = np.asarray(atoms.pbc)
    if not pbc.any():
        return
    vectors = atoms.cell.array[pbc]
    lengths = np.linalg.norm(vectors, axis=1)
    flags = "".join("T" if flag else "F" for flag in pbc)
    if lengths.min() < MIN_CELL_LENGTH:
        direction = "abc"[np.flatnonzero(pbc)[lengths.argmin()]]
        raise StructureError(
            f"{source}: periodic in direction {direction} (pbc {flags}), but that cell vector has length"
            f" {lengths.min():g} A, expected at least {MIN_CELL_LENGTH} A.",
            "Set a cell, or switch this direction off with atoms.pbc.",
            f'Write a cell into the file, or switch this direction off there (pbc="{_without(pbc, direction)}").',
        )
    if np.linalg.svd(vectors / lengths[:, None], compute_uv=False)[-1] < MIN_CELL_SINE:
        raise StructureError(
            f"{source}: the periodic cell vectors {vectors.tolist()} (pbc {flags}) span zero volume.",
            "Set a proper cell, or switch the periodic boundaries off with atoms.pbc = False.",
            'Write a proper cell into the file, or switch the periodic boundaries off there (pbc="F F F").',
        )


def _without(pbc: np.ndarray, direction: str) -> str:
    """Flags as extended XYZ writes them, without one direction."""
    return " ".join("T" if flag and name != direction else "F" for flag, name in zip(pbc, "abc", strict=True))

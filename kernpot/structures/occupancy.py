"""Sites that several elements share, as in CIF files of disordered crystals: no structure that could be computed."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms

from kernpot.errors import StructureError

_WHOLE = 1e-3


def check_occupancy(atoms: Atoms, source: str) -> None:
    """Require that every site is occupied by one whole atom.

    Parameters
    ----------
    atoms : Atoms
        ``info["occupancy"]`` as ASE has it from CIF files, by site and element; ``arrays["occupancy"]`` from PDB files.
    source : str
        How messages name the structure.

    Raises
    ------
    StructureError
        A site is shared or partly empty, and every atom is still the majority element of its site.
    """
    sites = atoms.info.get("occupancy")
    if isinstance(sites, dict):
        for site, shares in sites.items():
            if isinstance(shares, dict) and not _is_whole(shares) and _is_unresolved(atoms, site, shares):
                told = ", ".join(f"{element} {share:g}" for element, share in shares.items())
                raise _partial(source, f"site {site} is occupied by {told}")
    column = atoms.arrays.get("occupancy")
    if column is not None and column.dtype.kind == "f":
        partial = np.flatnonzero((column > _WHOLE) & (column < 1 - _WHOLE))
        if partial.size:
            raise _partial(source, f"atom {partial[0]} has an occupancy of {column[partial[0]]:g}")


def _is_whole(shares: dict[str, Any]) -> bool:
    return len(shares) == 1 and abs(next(iter(shares.values())) - 1) < _WHOLE


def _is_unresolved(atoms: Atoms, site: Any, shares: dict[str, Any]) -> bool:
    """False where somebody put other elements of the site on some of its atoms since."""
    kinds = atoms.arrays.get("spacegroup_kinds")
    if kinds is None:
        return True
    majority = max(shares, key=lambda element: shares[element])
    symbols = set(np.array(atoms.get_chemical_symbols())[kinds == int(site)].tolist())
    return symbols <= {majority}


def _partial(source: str, what: str) -> StructureError:
    return StructureError(
        f"{source}: {what}, which is no structure that could be computed. Replace it by structures in which every site"
        " holds one atom or none, e.g. random or special quasi-random occupations of a supercell."
    )

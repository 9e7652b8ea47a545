"""Whether a baseline that is given again is the one of the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ase import Atoms

from kernpot.errors import KernpotError, NotInFileError
from kernpot.potential import Surface

# eV/atom by which the baseline given again at load may differ from the one of the fit.
_SAME = 1e-6


def probe(surface: Surface, elements: Sequence[int]) -> dict[str, Any]:
    """Energy of a small structure under the baseline: another one that is given again at load is noticed."""
    numbers = [int(z) for z in elements for _ in range(2)]
    found: dict[str, Any] = {
        "numbers": numbers,
        "positions": [[2.0 * k, 0.1 * k, 0.0] for k in range(len(numbers))],
        "periodic": False,
        "energy": None,
    }
    for periodic in (False, True):  # some calculators want a cell
        found["periodic"] = periodic
        try:
            found["energy"] = surface.mean(_probed(found)).energy
        except KernpotError:
            continue
        break
    return found


def _probed(probe: Mapping[str, Any]) -> Atoms:
    length = 2.0 * len(probe["numbers"]) + 10.0
    return Atoms(probe["numbers"], probe["positions"], cell=[length] * 3, pbc=bool(probe["periodic"]))


def require_same(surface: Surface, stored: Mapping[str, Any], name: str) -> None:
    """Refuse a baseline that gives another energy than what :func:`probe` found."""
    if stored["energy"] is None:
        return
    atoms = _probed(stored)
    found = surface.mean(atoms).energy
    if abs(found - float(stored["energy"])) > _SAME * len(atoms):
        raise NotInFileError(
            f"the baseline given again gives {found:.6f} eV for {atoms.symbols}, that of the fit ({name}) gave "
            f"{float(stored['energy']):.6f} eV: give the same one."
        )

"""Units that a structure names: kernpot's are eV and Angstrom, and others are not converted but refused."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Sequence

from ase import Atoms

from kernpot.errors import KernpotWarning, StructureError

_OURS = frozenset(("ev", "a", "å", "ang", "angstrom", "angstroms", "ångström", "electronvolt", "metal", "ase"))
_SILENT = frozenset(("energy", "energies", "force", "forces", "stress", "virial", "length", "position", "positions"))
_FOREIGN = frozenset(
    (
        *(
            "hartree",
            "hartrees",
            "ha",
            "eh",
            "au",
            "atomic",
            "atomic_unit",
            "atomic_units",
            "bohr",
            "bohrs",
            "a0",
            "ry",
        ),
        *(
            "rydberg",
            "rydbergs",
            "kcal",
            "kj",
            "mev",
            "kev",
            "cal",
            "j",
            "joule",
            "nm",
            "pm",
            "gpa",
            "mpa",
            "kpa",
            "pa",
        ),
        *("bar", "kbar", "atm", "real", "si", "cgs", "lj", "electron", "micro", "nano"),
    )
)
# Of these no name makes another sense, as au or si would.
_IN_NAMES = frozenset(("hartree", "ha", "eh", "rydberg", "ry", "bohr", "kcal", "kj", "mev", "gpa", "kbar"))
_KEY = re.compile(r"(?P<before>.*?)[_\-. ]*units?(?:[_\-. ]*(?P<after>.*))?", re.IGNORECASE)
_KIND = {
    **dict.fromkeys(("energy", "energies", "free_energy", "total_energy"), "energy"),
    **dict.fromkeys(("force", "forces"), "forces"),
    **dict.fromkeys(("stress", "virial", "virials"), "stress"),
    **dict.fromkeys(("length", "distance", "position", "positions", "pos", "coordinate", "coordinates"), "length"),
}


def check_units(frames: Sequence[tuple[str, Atoms, Collection[str]]]) -> None:
    """Refuse units other than kernpot's where structures name them, and warn of words that are not known.

    Parameters
    ----------
    frames : sequence of (str, Atoms, collection of str)
        How messages name each structure, the structure, and the kinds of its labels. Entries of ``info`` such as
        ``energy_unit`` or ``units`` count where the structure has what they are about.

    Raises
    ------
    StructureError
        A unit of a label or of lengths is a foreign one.
    """
    unknown: list[tuple[str, str]] = []
    for source, atoms, kinds in frames:
        for key, value in atoms.info.items():
            if not (isinstance(key, str) and isinstance(value, (str, dict, list)) and _is_about(key, kinds)):
                continue
            words = {
                word if word in _FOREIGN else word.rstrip("0123456789")
                for word in re.findall(r"[a-zåö_]+\d*", str(value).lower().replace("a.u.", "au"))
            }
            if words & _FOREIGN:
                raise StructureError(
                    f"{source}: {key} is {value!r}, expected eV and Angstrom (forces in eV/A, stress in eV/A^3);"
                    " convert the numbers, and write the new unit in its place or leave it out."
                )
            if not words & _OURS or words - _OURS - _SILENT - {"per", "atom"}:
                unknown.append((source, f"{key}={value!r}"))
    if unknown:
        warnings.warn(
            f"{len(unknown)} structures (from {unknown[0][0]} on) name a unit that is not understood ({unknown[0][1]});"
            " numbers are read as eV and Angstrom.",
            KernpotWarning,
            stacklevel=4,
        )


def warn_of_units_in_keys(keys: Sequence[str]) -> None:
    """Warn where a name that the user gave to labels ends in a unit other than kernpot's, as in ``energy_Ha``."""
    for key in keys:
        words = re.split(r"[^a-z]+", key.lower())
        if _IN_NAMES & set(words):
            warnings.warn(
                f"the key {key!r} names a unit; its numbers are read as eV and Angstrom (forces in eV/A, stress in"
                " eV/A^3). Convert them, unless they are so already.",
                KernpotWarning,
                stacklevel=4,
            )


def _is_about(key: str, kinds: Collection[str]) -> bool:
    found = _KEY.fullmatch(key)
    if found is None:
        return False
    quantity = "_".join(part for part in (found["before"], found["after"]) if part).lower()
    return not quantity or _KIND.get(quantity) in {*kinds, "length"}

"""Usual mistakes of unit and sign, told from the factor by which labels are wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ase.units import Bohr, Hartree, Rydberg, kcal, kJ, mol

TOLERANCE = 0.2
"""How far, relatively, a factor may be from that of a mistake."""

_GPA = 160.21766
_IN_ENERGY = {
    "Hartree": 1 / Hartree,
    "Rydberg": 1 / Rydberg,
    "kcal/mol": mol / kcal,
    "kJ/mol": mol / kJ,
    "meV": 1000.0,
}
_UNITS: Mapping[str, Mapping[str, float]] = {
    "energy": _IN_ENERGY,
    "forces": {
        "Hartree/bohr": Bohr / Hartree,
        "Rydberg/bohr": Bohr / Rydberg,
        "Hartree/Å": 1 / Hartree,
        "eV/bohr": Bohr,
        "kcal/mol/Å": mol / kcal,
        "kJ/mol/Å": mol / kJ,
        "kJ/mol/nm": 0.1 * mol / kJ,
        "meV/Å": 1000.0,
    },
    "stress": {
        "GPa": _GPA,
        "kbar": 10 * _GPA,
        "MPa": 1e3 * _GPA,
        "bar": 1e4 * _GPA,
        "Pa": 1e9 * _GPA,
        "Hartree/bohr³": Bohr**3 / Hartree,
        "Rydberg/bohr³": Bohr**3 / Rydberg,
    },
}
_LOOK = {"energy": "energies look like", "forces": "forces look like", "stress": "stress looks like"}
_SIGN = {
    "energy": "energies have the other sign",
    "forces": "forces have the other sign: they look like gradients",
    "stress": "stress has the other sign: ASE counts tension as positive, VASP and others compression",
}
_AS_VASP = " (as in VASP's output)"
# Atomic units throughout: what energies and forces are wrong by differs by one length.
_BOTH = "energies and forces look like atomic units, Hartree and Hartree/bohr (or Rydberg and Rydberg/bohr)"


def mistake(kind: str, factor: float) -> str | None:
    """What may have gone wrong with labels that are `factor` times what they should be; None where nothing fits."""
    if kind not in _UNITS or not math.isfinite(factor) or factor == 0:
        return None
    size = abs(factor)
    if _near(size, 1.0):
        return _SIGN[kind] if factor < 0 else None
    distances = {name: abs(math.log(size / f)) for name, f in _UNITS[kind].items() if _near(size, f)}
    if distances:
        text = f"{_LOOK[kind]} {' or '.join(sorted(distances, key=distances.__getitem__)[:2])}"
        return text if factor > 0 else f"{text}, with the other sign{_AS_VASP if kind == 'stress' else ''}"
    if factor > 0 and _near(size, {"energy": 1 / Bohr, "forces": Bohr}.get(kind, math.inf)):
        return _BOTH
    return None


def right(factor: float) -> bool:
    """Whether labels are what they should be, as far as a rough factor tells."""
    return 1 / 1.5 < factor < 1.5


def _near(factor: float, other: float) -> bool:
    return math.isfinite(other) and abs(math.log(factor / other)) < math.log(1 + TOLERANCE)

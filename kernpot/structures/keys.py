"""Finding the labels of a frame under the names a user gives, and attaching them in kernpot's units and signs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures.checks import SYMMETRY_FLOOR, check_energy, check_forces, check_voigt

VIRIAL_KEYS = ("virial", "virials")


class LabelKeys(NamedTuple):
    """Names under which labels are kept; None is the standard place, the calculator."""

    energy: str | None
    forces: str | None
    stress: str | None


def attach_labels(frames: Sequence[Atoms], keys: LabelKeys, where: str) -> None:
    """Give every frame a calculator with just its labels, found under the keys and checked.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Changed in place; each has ``info["source"]``.
    keys : LabelKeys
    where : str
        Files the frames come from, for messages.

    Raises
    ------
    StructureError
        A named key occurs in no frame, or a label has the wrong shape or is not finite.
    """
    for kind, key in keys._asdict().items():
        if key is not None and all(_lookup(atoms, key) is None for atoms in frames):
            raise StructureError(
                f"{where}: {kind}_key={key!r} occurs in none of the {len(frames)} structures; the names that do occur:"
                f" {_names(frames)}."
            )
    found = [_find_labels(atoms, keys) for atoms in frames]
    _warn_of_mixture(found, keys)
    if keys.stress is None:
        _warn_of_ignored_virials(frames, found)
    for atoms, labels in zip(frames, found, strict=True):
        atoms.calc = SinglePointCalculator(atoms, **labels) if labels else None


def _find_labels(atoms: Atoms, keys: LabelKeys) -> dict[str, Any]:
    source = atoms.info["source"]
    energy = _lookup(atoms, keys.energy) if keys.energy else _results(atoms).get("energy")
    forces = _lookup(atoms, keys.forces) if keys.forces else _results(atoms).get("forces")
    labels: dict[str, Any] = {}
    if energy is not None:
        labels["energy"] = check_energy(energy, source)
    if forces is not None:
        labels["forces"] = check_forces(forces, len(atoms), source)
    stress = _find_stress(atoms, keys.stress, source)
    if stress is not None:
        labels["stress"] = stress
    return labels


def _find_stress(atoms: Atoms, key: str | None, source: str) -> np.ndarray | None:
    candidates = [key] if key else ["stress", *(VIRIAL_KEYS if _volume(atoms) > 0 else ())]
    for name in candidates:
        value = _results(atoms).get("stress") if name == "stress" and key is None else _lookup(atoms, name)
        if value is None:
            continue
        return _stress_from_virial(value, atoms, name) if "virial" in name.lower() else check_voigt(value, source)
    return None


def _stress_from_virial(virial: Any, atoms: Atoms, name: str) -> np.ndarray:
    """Stress in eV/A^3 from a virial in eV: ``-virial / volume``, ASE's sign."""
    source = atoms.info["source"]
    volume = _volume(atoms)
    if not volume > 0:
        raise StructureError(
            f"{source}: has {name!r}, but its cell has zero volume, so there is no stress (molecules have none); remove"
            " it from the file."
        )
    return np.asarray(-check_voigt(virial, source, name, floor=SYMMETRY_FLOOR * volume) / volume)


def _volume(atoms: Atoms) -> float:
    return float(abs(np.linalg.det(atoms.cell.array)))


def _lookup(atoms: Atoms, key: str) -> Any:
    for place in (atoms.info, atoms.arrays, _results(atoms)):
        if place.get(key) is not None:
            return place[key]
    return None


def _results(atoms: Atoms) -> dict[str, Any]:
    return getattr(atoms.calc, "results", None) or {}


def _names(frames: Sequence[Atoms]) -> str:
    info = sorted({str(name) for atoms in frames for name in atoms.info} - {"source"})
    arrays = sorted({name for atoms in frames for name in atoms.arrays} - {"numbers", "positions"})
    results = sorted({name for atoms in frames for name in _results(atoms)})
    places = {"info": info, "arrays": arrays, "calculator": results}
    return "; ".join(f"{place}: {', '.join(names)}" for place, names in places.items() if names) or "none"


def _warn_of_mixture(found: Sequence[dict[str, Any]], keys: LabelKeys) -> None:
    named = [kind for kind, key in keys._asdict().items() if key is not None]
    standard = [kind for kind, key in keys._asdict().items() if key is None and any(kind in labels for labels in found)]
    if named and standard:
        warnings.warn(
            f"{' and '.join(named)} come from named keys, but {' and '.join(standard)} from the file's standard place,"
            " which may be another level of theory. Name them too; "
            + ", ".join(f'{kind}_key="{kind}"' for kind in standard)
            + " keeps the present choice without this warning.",
            KernpotWarning,
            stacklevel=4,
        )


def _warn_of_ignored_virials(frames: Sequence[Atoms], found: Sequence[dict[str, Any]]) -> None:
    ignored = [
        atoms.info["source"]
        for atoms, labels in zip(frames, found, strict=True)
        if "stress" not in labels and any(_lookup(atoms, key) is not None for key in VIRIAL_KEYS)
    ]
    if ignored:
        warnings.warn(
            f"{len(ignored)} of {len(frames)} structures (from {ignored[0]} on) have a virial but no cell, so there is"
            " no stress (molecules have none); the virial of these is ignored.",
            KernpotWarning,
            stacklevel=4,
        )

"""Finding the labels of a frame under the names a user gives, and attaching them in kernpot's units and signs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures.checks import check_energy, check_forces, check_voigt
from kernpot.structures.energies import energy_of_forces, warn_of_mixed_energies
from kernpot.structures.foreign_units import check_units, warn_of_units_in_keys
from kernpot.structures.predictions import KERNPOT
from kernpot.structures.stresses import (
    agreed_stress,
    has_stress,
    stress_of_virial,
    warn_of_left_out,
    warn_of_zeros,
)

VIRIAL_KEYS = ("virial", "virials")


class LabelKeys(NamedTuple):
    """Names under which labels are kept; None is the standard place."""

    energy: str | None
    forces: str | None
    stress: str | None


@dataclass
class _Told:
    """Frames of which there is something to say, by source."""

    n_frames: int
    energies: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    zeros: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def attach_labels(frames: Sequence[Atoms], keys: LabelKeys, where: str) -> None:
    """Give every frame a calculator with just its labels, found under the keys and checked.

    Without a key a label stands in its standard place: among the calculator's results, or in info or arrays under its
    own name in any case (forces also as ``force``). Of an energy and a free energy the second is taken.

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
        A named key occurs in no frame; a label has the wrong shape, is not finite, or is in a foreign unit; a stress
        and a virial disagree.
    """
    for kind, key in keys._asdict().items():
        if key is not None and all(_lookup(atoms, key) is None for atoms in frames):
            raise StructureError(
                f"{where}: {key!r} occurs in none of the {len(frames)} structures; the names that do occur:"
                f" {_names(frames)}.",
                f"Name one of them, or leave {kind}_key out.",
                f"Name one of them, or leave --{kind}-key out.",
            )
    told = _Told(len(frames))
    found = [_find_labels(atoms, keys, told) for atoms in frames]
    _warn_of_mixture(found, keys)
    _warn_of_other_names(frames, found, keys)
    warn_of_mixed_energies(told.energies)
    warn_of_zeros(told.zeros, told.n_frames)
    warn_of_left_out(told.left_out, told.n_frames)
    warn_of_units_in_keys([key for key in keys if key is not None])
    check_units([(atoms.info["source"], atoms, labels) for atoms, labels in zip(frames, found, strict=True)])
    for atoms, labels in zip(frames, found, strict=True):
        name = getattr(atoms.calc, "name", None)
        atoms.calc = SinglePointCalculator(atoms, **labels) if labels else None
        if labels and name == KERNPOT:
            atoms.calc.name = name


def _find_labels(atoms: Atoms, keys: LabelKeys, told: _Told) -> dict[str, Any]:
    source = atoms.info["source"]
    labels: dict[str, Any] = {}
    if keys.energy:
        energy = _lookup(atoms, keys.energy)
    else:
        both = {name: value for name in ("energy", "free_energy") if (value := _standard(atoms, name)) is not None}
        told.energies += [(source, both)] if both else []
        energy = energy_of_forces(both)
    forces = _lookup(atoms, keys.forces) if keys.forces else _standard(atoms, "forces", "force")
    if energy is not None:
        labels["energy"] = check_energy(energy, source)
    if forces is not None:
        labels["forces"] = check_forces(forces, len(atoms), source)
    stress = _find_stress(atoms, keys.stress, source, told)
    if stress is not None:
        labels["stress"] = stress
    return labels


def _find_stress(atoms: Atoms, key: str | None, source: str, told: _Told) -> Any:
    name = key or ""
    stress = None if "virial" in name.lower() else _lookup(atoms, name) if key else _standard(atoms, "stress")
    virial = _standard(atoms, *VIRIAL_KEYS) if key is None else _lookup(atoms, name) if stress is None else None
    if stress is None and virial is None:
        return None
    if not has_stress(atoms):
        told.left_out.append(source)
        return None
    checked = None if stress is None else check_voigt(stress, source)
    if virial is None:
        return checked
    from_virial = stress_of_virial(virial, atoms, source, key or "virial")
    if checked is None:
        return from_virial
    if checked.any() != from_virial.any():
        told.zeros.append(source)
    return agreed_stress(checked, from_virial, source)


def _lookup(atoms: Atoms, key: str) -> Any:
    for place in (atoms.info, atoms.arrays, _results(atoms)):
        if place.get(key) is not None:
            return place[key]
    return None


def _standard(atoms: Atoms, *names: str) -> Any:
    """What has one of the names: among the results, else in any case in info or arrays."""
    for name in names:
        value = _results(atoms).get(name)
        if value is not None:
            return value
    for name in names:
        for place in (atoms.info, atoms.arrays):
            for key, value in place.items():
                # words of a remark are flags in a header
                if isinstance(key, str) and key.lower() == name and value is not None and not isinstance(value, bool):
                    return value
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
            KernpotWarning(
                f"{' and '.join(named)} come from named keys, but {' and '.join(standard)} from the file's standard"
                " place, which may be another level of theory. Name them too:",
                ", ".join(f'{kind}_key="{kind}"' for kind in standard) + " keeps the present choice without warning.",
                " ".join(f"--{kind}-key {kind}" for kind in standard) + " keeps the present choice without warning.",
            ),
            stacklevel=4,
        )


def _warn_of_other_names(frames: Sequence[Atoms], found: Sequence[dict[str, Any]], keys: LabelKeys) -> None:
    """Frames without a named key that have the label in its standard place: files that were put together."""
    for kind, key in (("energy", keys.energy), ("forces", keys.forces)):
        names = ("energy", "free_energy") if kind == "energy" else ("forces", "force")
        other = [
            atoms.info["source"]
            for atoms, labels in zip(frames, found, strict=True)
            if key is not None and kind not in labels and _standard(atoms, *names) is not None
        ]
        if other:
            warnings.warn(
                f"{len(other)} of {len(frames)} structures (from {other[0]} on) have no {key!r}, but {kind} under the"
                " standard name, which are not read. Give all files the same names, or leave these out.",
                KernpotWarning,
                stacklevel=4,
            )

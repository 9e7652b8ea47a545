"""Structures with their labels, validated: what every later room works on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms

from kernpot.errors import StructureError
from kernpot.structures.checks import check_atoms
from kernpot.structures.kinds import KINDS, LABEL_KINDS
from kernpot.structures.known import LeftOut, atom_scales, known_forces, known_stress
from kernpot.structures.screening import results_of, screen

# A structure's noise, relative to that of others: weights are the square of its inverse.
_LARGEST_SCALE = 1e6


@dataclass(frozen=True, eq=False)
class LabelledStructure:
    """One structure and the labels it has.

    Attributes
    ----------
    atoms : ase.Atoms
        A copy without calculator.
    energy : float or None
        Total energy, eV.
    forces : ndarray of shape (n_atoms, 3) or None
        eV/Angstrom; NaN where a component is not known.
    stress : ndarray of shape (6,) or None
        eV/Angstrom^3, ASE sign, order xx, yy, zz, yz, xz, xy; NaN where a component is not known.
    config_type : str
        ``atoms.info["config_type"]``, empty when there is none.
    source : str
        ``file.xyz#3`` for structures that were read, else ``structures[3]``.
    noise_scale : dict
        Factor on the noise level of each label kind, from ``atoms.info["noise_scale"]``; 1 unless given.
    others : dict
        Labels of further kinds (:mod:`kernpot.structures.kinds`), by name.
    atom_scales : ndarray of shape (n_atoms,) or None
        Factor on the noise level of the forces on each atom, beside that of the structure.
    """

    atoms: Atoms
    energy: float | None
    forces: np.ndarray | None
    stress: np.ndarray | None
    config_type: str
    source: str
    noise_scale: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 1.0))
    others: dict[str, Any] = field(default_factory=dict)
    atom_scales: np.ndarray | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The label kinds this structure has, in the order energy, forces, stress, others."""
        return tuple(kind for kind in (*LABEL_KINDS, *self.others) if self.label(kind) is not None)

    def label(self, kind: str) -> Any:
        """Its label of a kind, or None."""
        return getattr(self, kind) if kind in LABEL_KINDS else self.others.get(kind)

    def known(self, kind: str) -> np.ndarray:
        """Which components (n,) of a label, in C order, are known."""
        return np.isfinite(np.ravel(np.asarray(self.label(kind), dtype=np.float64)))

    def is_whole(self, kind: str) -> bool:
        """Whether there is a label of a kind, with all its components."""
        return self.label(kind) is not None and bool(self.known(kind).all())

    def scales(self, kind: str) -> np.ndarray:
        """Factors (n,) on the noise level of the components of a label, in C order."""
        n = np.size(self.label(kind))
        own = np.full(n, self.noise_scale[kind])
        return own * np.repeat(self.atom_scales, 3) if kind == "forces" and self.atom_scales is not None else own

    def without(self, *kinds: str) -> LabelledStructure:
        """The same without labels of some kinds."""
        absent: dict[str, Any] = {kind: None for kind in kinds if kind in LABEL_KINDS}
        others = {kind: label for kind, label in self.others.items() if kind not in kinds}
        return replace(self, **absent, others=others)


def label_structures(
    structures: Iterable[Atoms],
    energies: Iterable[Any] | None = None,
    forces: Iterable[Any] | None = None,
    stress: Iterable[Any] | None = None,
) -> list[LabelledStructure]:
    """Check structures and collect their labels; nothing is computed and the input is not changed.

    Parameters
    ----------
    structures : iterable of ase.Atoms
    energies : iterable of (float or None), optional
        Total energies, eV. When given they replace the calculators' energies; None means this structure has none.
    forces : iterable of (array of shape (n_atoms, 3) or None), optional
        eV/Angstrom, as `energies`. NaN is a component that is not known, as are those that ``arrays["forces_mask"]``
        (n_atoms,) or (n_atoms, 3) has false, and zeros of atoms that a constraint holds. ``arrays["forces_weight"]``
        weighs atoms.
    stress : iterable of (array of shape (6,), (3, 3) or (9,), or None), optional
        eV/Angstrom^3, ASE sign, as `energies`; NaN is a component that is not known.

    Returns
    -------
    list of LabelledStructure
        In the order given. Labels not passed here come from the results stored in each structure's calculator: of an
        energy and a free energy the second, whose derivative the forces are; a stress only where the structure is
        periodic in three directions.

    Raises
    ------
    StructureError
        No structures, a structure or label that cannot be used, another number of labels than structures, a calculator
        whose results belong to another geometry or are predictions of kernpot. The message names the structure.

    Warns
    -----
    KernpotWarning
        Forces that are no labels were left out, or look like it; a stress was left out; only some structures have a
        free energy that differs from their energy.
    """
    if isinstance(structures, Atoms):
        raise StructureError("structures: expected a list of ase.Atoms, got a single one; write [atoms].")
    if not isinstance(structures, Iterable) or isinstance(structures, str | bytes):
        raise StructureError(f"structures: expected a list of ase.Atoms, got {structures!r}.")
    frames = list(structures)
    if not frames:
        raise StructureError("structures: expected at least one structure, got an empty list.")
    explicit = {
        kind: _aligned(kind, values, len(frames))
        for kind, values in zip(LABEL_KINDS, (energies, forces, stress), strict=True)
    }
    told = LeftOut(len(frames))
    labelled = [
        _label(atoms, index, {kind: values[index] for kind, values in explicit.items() if values is not None}, told)
        for index, atoms in enumerate(frames)
    ]
    told.warn()
    screen(
        [(s.source, atoms) for s, atoms in zip(labelled, frames, strict=True)],
        [kind for kind in KINDS if explicit.get(kind) is None],
    )
    return labelled


def require_any_energy(labelled: Sequence[LabelledStructure]) -> None:
    """Raise StructureError when no structure has an energy: forces alone leave the energy scale unknown."""
    if not any(structure.energy is not None for structure in labelled):
        first = labelled[0].source if labelled else "an empty list"
        raise StructureError(
            f"none of the {len(labelled)} structures (from {first} on) has an energy, expected at least one."
            + _energies_held(labelled),
            *_energy_advice(labelled),
        )


def require_any_label(labelled: Sequence[LabelledStructure]) -> None:
    """Raise StructureError when no structure has a label of any kind: there is nothing to learn."""
    if not any(structure.kinds for structure in labelled):
        raise StructureError(
            f"none of the {len(labelled)} structures has a label, expected energies, forces or stress."
            + _energies_held(labelled),
            *_energy_advice(labelled),
        )


def _names_of_energies(labelled: Sequence[LabelledStructure]) -> list[tuple[str, int]]:
    held = Counter(
        key
        for structure in labelled
        for key, value in structure.atoms.info.items()
        if isinstance(key, str) and "energy" in key.lower() and value is not None
    )
    return held.most_common()


def _energies_held(labelled: Sequence[LabelledStructure]) -> str:
    listed = ", ".join(f"{key!r} ({count} of {len(labelled)})" for key, count in _names_of_energies(labelled))
    return f" The structures hold {listed} in info." if listed else ""


def _energy_advice(labelled: Sequence[LabelledStructure]) -> tuple[str, str]:
    """What to do, in Python and on the command line."""
    held = _names_of_energies(labelled)
    if not held:
        return (
            "Attach a calculator with results, pass energies=..., or name the file's key: read_structures(path,"
            ' energy_key="REF_energy").',
            "Name the energy's key in the file, as in --energy-key REF_energy, or label the structures: kernpot label.",
        )
    return (
        f'If that is the total energy in eV, name it: read_structures(path, energy_key="{held[0][0]}"); else attach a'
        " calculator with results or pass energies=...",
        f"If that is the total energy in eV, name it: --energy-key {held[0][0]}; else label them: kernpot label.",
    )


def _label(atoms: Atoms, index: int, explicit: dict[str, Any], told: LeftOut) -> LabelledStructure:
    source = source_of(atoms, index)
    check_atoms(atoms, source)
    labels = {**_calculator_labels(atoms, source, [kind for kind in KINDS if kind not in explicit]), **explicit}
    checked = {kind: KINDS[kind].check(value, atoms, source) for kind, value in labels.items() if value is not None}
    forces, stress = checked.pop("forces", None), checked.pop("stress", None)
    scales = None
    if forces is not None:
        forces = known_forces(forces, atoms, source, told)
        scales = atom_scales(atoms, source)
    return LabelledStructure(
        atoms=atoms.copy(),
        energy=checked.pop("energy", None),
        forces=forces,
        stress=None if stress is None else known_stress(stress, atoms, source, told, "stress" in explicit),
        others=checked,
        config_type=str(atoms.info.get("config_type", "")),
        source=source,
        noise_scale=_noise_scale(atoms.info.get("noise_scale"), source),
        atom_scales=scales,
    )


def source_of(atoms: Any, index: int) -> str:
    """How messages name a structure: where it was read from, else its place in the list."""
    source = atoms.info.get("source") if isinstance(atoms, Atoms) else None
    # other programs write their own "source"; only ours ends in a frame number
    return source if isinstance(source, str) and re.search(r"#\d+$", source) else f"structures[{index}]"


def _calculator_labels(atoms: Atoms, source: str, kinds: list[str]) -> dict[str, Any]:
    results = getattr(atoms.calc, "results", None) or {}
    labels = {kind: results[kind] for kind in kinds if results.get(kind) is not None}
    computed_for = getattr(atoms.calc, "atoms", None)
    if labels and computed_for is not None and not _same_geometry(atoms, computed_for):
        raise StructureError(
            f"{source}: the calculator's {', '.join(labels)} belong to another geometry: positions, cell, elements or"
            " pbc were changed after they were computed. Compute them again, or pass them as energies=, forces=,"
            " stress=."
        )
    return results_of(atoms, kinds)


def _same_geometry(a: Atoms, b: Atoms, tolerance: float = 1e-6) -> bool:
    return (
        np.array_equal(a.numbers, b.numbers)
        and np.array_equal(a.pbc, b.pbc)
        and bool(np.abs(a.positions - b.positions).max(initial=0.0) < tolerance)
        and bool(np.abs(a.cell.array - b.cell.array).max() < tolerance)
    )


def _aligned(kind: str, values: Iterable[Any] | None, n_structures: int) -> list[Any] | None:
    if values is None:
        return None
    name = "energies" if kind == "energy" else kind
    try:
        entries = list(values)
    except TypeError as error:
        raise StructureError(
            f"{name}: expected one entry per structure ({n_structures}), got {type(values).__name__}."
        ) from error
    if len(entries) != n_structures:
        raise StructureError(
            f"{name}: got {len(entries)} entries for {n_structures} structures; give one per structure, None where"
            " there is none."
        )
    return entries


def _noise_scale(value: Any, source: str) -> dict[str, float]:
    given = dict.fromkeys(KINDS, 1.0 if value is None else value) if not isinstance(value, dict) else value
    unknown = sorted(set(given) - set(KINDS), key=str)
    if unknown:
        raise StructureError(f"{source}: noise_scale has keys {unknown}, expected some of {list(KINDS)}.")
    scales = dict.fromkeys(KINDS, 1.0)
    for kind, scale in given.items():
        scales[kind] = check_noise_scale(scale, kind, source)
    return scales


def check_noise_scale(scale: Any, kind: str, source: str) -> float:
    """Factor on the noise level of a structure's labels of a kind, else StructureError."""
    number = isinstance(scale, (int, float, np.integer, np.floating)) and not isinstance(scale, bool)
    if not (number and 1 / _LARGEST_SCALE <= scale <= _LARGEST_SCALE):
        raise StructureError(
            f"{source}: noise_scale for {kind} is {scale!r}, expected a positive number, at most {_LARGEST_SCALE:g} (2"
            " doubles the noise level of this structure); leave out a label that is not to be learnt."
        )
    return float(scale)


def n_labels(labelled: LabelledStructure) -> int:
    """Number of labels of a structure, counting components that are known."""
    return sum(int(labelled.known(kind).sum()) for kind in labelled.kinds)

"""What is in labelled structures: counts, ranges, closest atoms, copies, lone atoms, values far from all others."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.data import chemical_symbols
from numpy.typing import NDArray

from kernpot.errors import KernpotWarning
from kernpot.structures.contacts import Contact, closest_contacts
from kernpot.structures.identity import identity
from kernpot.structures.kinds import LABEL_KINDS
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.reference import by_least_squares, is_isolated_atom, isolated_atom_energies

FloatArray = NDArray[np.float64]

NO_GROUP = "(none)"


@dataclass(frozen=True)
class Part:
    """A file, or a group, of the structures.

    Attributes
    ----------
    name : str
    members : tuple of int
        Places of its structures.
    n_atoms : int
    labels : dict of str to int
        Structures with a label, by kind.
    """

    name: str
    members: tuple[int, ...]
    n_atoms: int
    labels: dict[str, int]


@dataclass(frozen=True, eq=False)
class Quantity:
    """One number of each structure that has it.

    Attributes
    ----------
    name, unit : str
    values : ndarray of shape (n,)
    members : ndarray of int64, shape (n,)
        Places of the structures.
    """

    name: str
    unit: str
    values: FloatArray
    members: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Inspection:
    """All that was found.

    Attributes
    ----------
    labelled : sequence of LabelledStructure
    files, groups : list of Part
    elements : dict of str to tuple of int
        Structures and atoms with an element, by symbol.
    compositions : dict of str to int
        Structures by formula, the most frequent first.
    quantities : list of Quantity
    contacts : dict of tuple of int to Contact
        Closest atoms by pair of elements.
    copies : list of tuple of int
        Structures with the same atoms, number for number.
    isolated : dict of str to float or None
        Energy of a lone atom, eV, by symbol; None where there is none.
    """

    labelled: Sequence[LabelledStructure]
    files: list[Part]
    groups: list[Part]
    elements: dict[str, tuple[int, int]]
    compositions: dict[str, int]
    quantities: list[Quantity]
    contacts: dict[tuple[int, int], Contact]
    copies: list[tuple[int, ...]]
    isolated: dict[str, float | None]

    @property
    def n_atoms(self) -> int:
        """In all structures."""
        return sum(len(s.atoms) for s in self.labelled)

    def quantity(self, name: str) -> Quantity | None:
        """One of the quantities, by name."""
        return next((found for found in self.quantities if found.name == name), None)


def inspect_structures(labelled: Sequence[LabelledStructure]) -> Inspection:
    """Look at structures."""
    frames = [s.atoms for s in labelled]
    present = sorted({int(z) for atoms in frames for z in atoms.numbers})
    copies: dict[bytes, list[int]] = {}
    for k, atoms in enumerate(frames):
        copies.setdefault(identity(atoms), []).append(k)
    with warnings.catch_warnings():  # the findings tell of it
        warnings.simplefilter("ignore", KernpotWarning)
        known = isolated_atom_energies(labelled)
    fitted = by_least_squares(labelled, None)
    symbols = [chemical_symbols[z] for z in present]
    return Inspection(
        labelled=labelled,
        files=_parts(labelled, lambda s: s.source.rsplit("#", 1)[0]),
        groups=_parts(labelled, lambda s: s.config_type or NO_GROUP),
        elements={symbol: _share(frames, symbol) for symbol in symbols},
        compositions=dict(Counter(str(atoms.symbols.formula.convert("hill")) for atoms in frames).most_common()),
        quantities=_quantities(labelled, known),
        contacts=closest_contacts(frames),
        copies=[tuple(members) for members in copies.values() if len(members) > 1],
        isolated={symbol: None if symbol in fitted else known[z] for z, symbol in zip(present, symbols, strict=True)},
    )


def _parts(labelled: Sequence[LabelledStructure], name_of: Callable[[LabelledStructure], str]) -> list[Part]:
    members: dict[str, list[int]] = {}
    for k, s in enumerate(labelled):
        members.setdefault(name_of(s), []).append(k)
    return [
        Part(
            name,
            tuple(own),
            sum(len(labelled[k].atoms) for k in own),
            {kind: sum(labelled[k].label(kind) is not None for k in own) for kind in LABEL_KINDS},
        )
        for name, own in members.items()
    ]


def _share(frames: Sequence[Atoms], symbol: str) -> tuple[int, int]:
    counts = [int((np.array(atoms.get_chemical_symbols()) == symbol).sum()) for atoms in frames]
    return sum(count > 0 for count in counts), sum(counts)


def _quantities(labelled: Sequence[LabelledStructure], isolated: dict[int, float]) -> list[Quantity]:
    """Of all structures but lone atoms, which are not like any other."""
    members = [k for k, s in enumerate(labelled) if not is_isolated_atom(s)]

    def told(name: str, unit: str, of: Callable[[LabelledStructure], float | None]) -> Quantity:
        values = {k: value for k in members if (value := of(labelled[k])) is not None}
        return Quantity(name, unit, np.array(list(values.values())), np.array(list(values), dtype=np.int64))

    def above_atoms(s: LabelledStructure) -> float | None:
        if s.energy is None:
            return None
        return (s.energy - sum(isolated[int(z)] for z in s.atoms.numbers)) / len(s.atoms)

    def pressure(s: LabelledStructure) -> float | None:
        return None if s.stress is None or np.isnan(s.stress[:3]).any() else float(-s.stress[:3].mean() / units.GPa)

    def largest_force(s: LabelledStructure) -> float | None:
        return None if s.forces is None or np.isnan(s.forces).all() else float(np.nanmax(np.abs(s.forces)))

    found = [
        told("Energy less atoms", "eV/atom", above_atoms),
        told("Largest force", "eV/Å", largest_force),
        told("Pressure", "GPa", pressure),
        told("Volume", "Å³/atom", lambda s: s.atoms.get_volume() / len(s.atoms) if s.atoms.pbc.all() else None),
        told("Atoms", "", lambda s: float(len(s.atoms))),
    ]
    return [quantity for quantity in found if quantity.values.size]

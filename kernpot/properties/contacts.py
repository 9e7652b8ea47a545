"""Whether energies rise when atoms are pressed together below the closest distance that a potential has learnt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from kernpot.potential import Potential
from kernpot.structures.contacts import Contact, closest_contacts

# Closest atoms further apart than this part of the sum of their covalent radii may rightly attract one another.
_BONDED = 1.25
_PARTS = np.linspace(1.0, 0.7, 13)
# Energies that fall by less, in eV, are as good as level.
_LEVEL = 0.05


@dataclass(frozen=True)
class Pressed:
    """Two atoms pressed together.

    Attributes
    ----------
    pair : tuple of int
        Atomic numbers.
    where : str
        The structure that holds the two closest atoms of this pair, or ``"a pair alone"``.
    closest : float
        Their distance there, Angstrom.
    falls_below : float or None
        Distance below which the energy falls, Angstrom; None where it rises down to 0.7 of `closest`.
    fall : float
        By how much, eV.
    force_std : float or None
        Largest std of a force where it begins to fall, eV/Angstrom: above a gate's threshold, dynamics stop there.
    """

    pair: tuple[int, int]
    where: str
    closest: float
    falls_below: float | None = None
    fall: float = 0.0
    force_std: float | None = None


def pressed_contacts(potential: Potential, structures: Sequence[Atoms], sources: Sequence[str]) -> list[Pressed]:
    """For every pair of elements that are neighbours somewhere, in the structure where they are closest and alone.

    Parameters
    ----------
    potential : Potential
    structures : sequence of ase.Atoms
        What it has learnt.
    sources : sequence of str
        How the structures are called.
    """
    found = []
    for pair, contact in closest_contacts(structures).items():
        if contact.distance > _BONDED * sum(float(covalent_radii[z]) for z in pair):
            continue
        alone = Atoms(list(pair), [[0.0, 0.0, 0.0], [0.0, 0.0, contact.distance]])
        found.append(
            _press(potential, pair, sources[contact.structure], *_held(structures[contact.structure], contact))
        )
        found.append(_press(potential, pair, "a pair alone", alone, (0, 1), alone.positions[1]))
    return found


def _held(atoms: Atoms, contact: Contact) -> tuple[Atoms, tuple[int, int], np.ndarray]:
    """The structure, two of its atoms and the vector between them; an atom and its own image are made two."""
    first, second = contact.atoms
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if first != second:
        return bare, contact.atoms, contact.vector
    larger = bare.repeat([2 if periodic else 1 for periodic in atoms.pbc])
    offsets = larger.positions - larger.positions[first] - contact.vector
    scaled = np.linalg.lstsq(larger.cell.array.T, offsets.T, rcond=None)[0].T
    image = np.linalg.norm((scaled - np.round(scaled)) @ larger.cell.array, axis=1)
    return larger, (first, int(image.argmin())), contact.vector


def _press(
    potential: Potential, pair: tuple[int, int], where: str, atoms: Atoms, two: tuple[int, int], vector: np.ndarray
) -> Pressed:
    closest = float(np.linalg.norm(vector))
    energies = np.array([potential.mean(pressed).energy for pressed in _steps(atoms, two, vector)])
    highest = np.maximum.accumulate(energies)
    fall = float((highest - energies).max())
    if fall <= _LEVEL:
        return Pressed(pair, where, closest)
    start = int(energies[: int((highest - energies).argmax()) + 1].argmax())
    begins = list(_steps(atoms, two, vector))[start]
    return Pressed(pair, where, closest, float(_PARTS[start] * closest), fall, float(potential.force_std(begins).max()))


def _steps(atoms: Atoms, two: tuple[int, int], vector: np.ndarray) -> Iterator[Atoms]:
    for part in _PARTS:
        pressed = atoms.copy()
        pressed.positions[two[0]] += 0.5 * (1 - part) * vector
        pressed.positions[two[1]] -= 0.5 * (1 - part) * vector
        yield pressed

"""Atoms in, labelled arrays out: reading, labels, checks, isolated-atom energies, noise groups, neighbour pairs."""

from kernpot.structures.checks import check_atoms
from kernpot.structures.labels import LabelledStructure, label_structures, require_any_energy
from kernpot.structures.neighbours import NeighbourList, Pairs, find_pairs
from kernpot.structures.noise import NoiseModel
from kernpot.structures.reading import read_structures
from kernpot.structures.reference import isolated_atom_energies

__all__ = [
    "LabelledStructure",
    "NeighbourList",
    "NoiseModel",
    "Pairs",
    "check_atoms",
    "find_pairs",
    "isolated_atom_energies",
    "label_structures",
    "read_structures",
    "require_any_energy",
]

"""Energies of atoms as functionals of the local energy: its values themselves."""

import numpy as np

from kernpot.functionals.labels import LabelFunctional, Part
from kernpot.functionals.rows import local_energy_rows


def _rows(structure, blocks):
    yield Part(slice(0, structure.n_atoms), *local_energy_rows(structure, blocks))


def _of_isolated_atoms(numbers, isolated):
    return np.array([isolated[int(z)] for z in numbers])


ROWS = LabelFunctional("energies", _rows, _of_isolated_atoms)

"""Total energies: the sum of the energies of all environments, and of isolated atoms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kernpot.functionals.labels.functional import LabelFunctional, Part
from kernpot.functionals.rows import energy_rows
from kernpot.functionals.state import InducingBlock, Structure


def _rows(structure: Structure, blocks: Sequence[InducingBlock]) -> Iterator[Part]:
    yield Part(slice(0, 1), *energy_rows(structure, blocks))


def _of_isolated_atoms(numbers: NDArray[np.int64], isolated: Mapping[int, float]) -> float:
    return sum(isolated[int(z)] for z in numbers)


ENERGY = LabelFunctional("energy", _rows, _of_isolated_atoms)

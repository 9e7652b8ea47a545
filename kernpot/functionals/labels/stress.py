"""Stress: derivatives of the sum of all energies with respect to strain, over the volume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kernpot.functionals.labels.functional import LabelFunctional, Part
from kernpot.functionals.rows import stress_rows
from kernpot.functionals.state import InducingBlock, Structure


def _rows(structure: Structure, blocks: Sequence[InducingBlock]) -> Iterator[Part]:
    yield Part(slice(0, 6), *stress_rows(structure, blocks))


STRESS = LabelFunctional("stress", _rows)

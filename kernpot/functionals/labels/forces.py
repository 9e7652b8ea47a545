"""Forces: minus the derivatives of the sum of all energies with respect to positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kernpot.functionals.labels.functional import LabelFunctional, Part
from kernpot.functionals.rows import force_rows
from kernpot.functionals.state import InducingBlock, Structure


def _rows(structure: Structure, blocks: Sequence[InducingBlock]) -> Iterator[Part]:
    for atoms, rows, prior in force_rows(structure, blocks):
        yield Part(slice(3 * atoms.start, 3 * atoms.stop), rows, prior)


FORCES = LabelFunctional("forces", _rows)

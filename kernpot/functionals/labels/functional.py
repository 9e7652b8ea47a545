"""What a kind of label is to a model: a linear functional of the energies of environments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kernpot.functionals.state import InducingBlock, Structure


class Part(NamedTuple):
    """Rows of some components of a label, for unit amplitude.

    Attributes
    ----------
    components : slice
        Of the label in C order.
    rows : Tensor of shape (n, M)
    prior : Tensor of shape (n, n_blocks)
        Prior variances from each inducing block.
    """

    components: slice
    rows: Tensor
    prior: Tensor


def nothing(numbers: NDArray[np.int64], isolated: Mapping[int, float]) -> float:  # noqa: ARG001
    """Of a label that composition does not fix any part of."""
    return 0.0


@dataclass(frozen=True)
class LabelFunctional:
    """Labels of one kind as functionals of the local energy.

    Attributes
    ----------
    kind : str
    rows : callable
        ``rows(structure, blocks)`` yields the `Part` s of a label, in order.
    fixed : callable
        ``fixed(numbers, isolated)``, the part of a label (a number, or its components in C order) that atomic numbers
        and the energies of isolated atoms fix.
    """

    kind: str
    rows: Callable[[Structure, Sequence[InducingBlock]], Iterator[Part]]
    fixed: Callable[[NDArray[np.int64], Mapping[int, float]], float | NDArray[np.float64]] = nothing

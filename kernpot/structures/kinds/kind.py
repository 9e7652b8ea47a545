"""What there is to say of a kind of label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ase import Atoms

Pooled = Literal["itself", "surroundings", "components"]


@dataclass(frozen=True)
class LabelKind:
    """A kind of label.

    Attributes
    ----------
    name : str
        Also its name among a calculator's results, in ``noise`` and in files.
    unit : str
        Of a label.
    shape : callable
        From the number of atoms to a label's shape.
    check : callable
        ``check(value, atoms, source)`` gives the label, a number or an array of that shape in float64, or raises
        :class:`kernpot.errors.StructureError` naming the source.
    floor : float
        Least misfit: no label is known better. As the next three per atom, where the kind is extensive.
    start : float
        Least noise that a search begins with.
    expected : float
        Noise of labels before there are any.
    unseen : float
        Misfit taken for a kind that a model has never seen.
    counted : str
        What a summary calls the number of its components.
    extensive : bool
        Whether noise and misfit are those of the label over the number of atoms.
    centred : bool
        Whether its spread is about its mean, as of what is known up to a constant.
    together : int
        Adjacent components that a rotation mixes.
    pooled : {"itself", "surroundings", "components"}
        What shares the causes of a component's misfit: nothing, the components of its atom and its neighbours, or all
        components of the label.
    """

    name: str
    unit: str
    shape: Callable[[int], tuple[int, ...]]
    check: Callable[[Any, Atoms, str], Any]
    floor: float
    start: float
    expected: float
    unseen: float
    counted: str
    extensive: bool = False
    centred: bool = False
    together: int = 1
    pooled: Pooled = "itself"

    @property
    def level_unit(self) -> str:
        """Unit of noise and misfit."""
        return f"{self.unit}/atom" if self.extensive else self.unit

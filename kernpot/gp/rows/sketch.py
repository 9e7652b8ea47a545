"""What is kept of one structure's rows, so that its labels can be held against a fit without making them again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kernpot.gp.rows.maker import LabelRows


@dataclass
class Sketch:
    """Labels of one kind of one structure, against whatever weights ``w`` a fit will find.

    Attributes
    ----------
    crossed : Tensor of shape (M,)
        ``B^T y``: its product with weights is that of labels and predictions.
    square : float
        ``|y|^2``.
    n : int
        Number of components.
    """

    crossed: Tensor
    square: float
    n: int

    def agreement(self, weights: Tensor) -> float:
        """``y . B w / |y|^2``, one over the factor by which labels differ from predictions."""
        return float(self.crossed @ weights) / self.square


@dataclass(frozen=True)
class EnergyRow:
    """The row of a total energy per atom, and the label."""

    row: Tensor
    target: float


@dataclass(frozen=True)
class Sketches:
    """Of one structure.

    Attributes
    ----------
    components : dict of str to Sketch
        By kind of label, of those with several components.
    energy : EnergyRow or None
    """

    components: dict[str, Sketch]
    energy: EnergyRow | None


class Sketching:
    """Draws the sketches of a structure, part by part."""

    def __init__(self) -> None:
        self._components: dict[str, Sketch] = {}
        self._energy: EnergyRow | None = None

    def add(self, part: LabelRows) -> None:
        """Take note of some rows and their labels."""
        if part.kind == "energy":
            self._energy = EnergyRow(part.rows[0].clone(), float(part.targets[0]))
            return
        crossed, square = part.rows.mT @ part.targets, float(part.targets.square().sum())
        drawn = self._components.setdefault(part.kind, Sketch(torch.zeros_like(crossed), 0.0, 0))
        drawn.crossed += crossed
        drawn.square += square
        drawn.n += len(part.targets)

    def done(self) -> Sketches:
        """The sketches."""
        return Sketches(self._components, self._energy)

"""A kernel of one's own, in one file: the exponential of the cosine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from kernpot.kernels import CosineFunction, CosineKernel


class Exponential(CosineFunction):
    """``exp((s - 1) / l)``."""

    def __init__(self, length: float) -> None:
        self.length = length

    def value(self, s: Tensor) -> Tensor:
        return torch.exp((s - 1) / self.length)

    def slope(self, s: Tensor) -> Tensor:
        return self.value(s) / self.length

    def curvature(self, s: Tensor) -> Tensor:
        return self.value(s) / self.length**2

    @property
    def coefficients(self) -> Sequence[float]:
        """Its power series, until the rest is below 1e-8 at ``s = 1``."""
        found: list[float] = []
        while sum(found) < 1 - 1e-8:
            p = len(found)
            found.append(math.exp(-1 / self.length) / (math.factorial(p) * self.length**p))
        return found


class ExponentialKernel(CosineKernel):
    """The kernel, with the length as its only parameter beside amplitudes."""

    kind = "exponential"

    def __init__(self, length: float = 0.5, elements: Sequence[int] | None = None, amplitude: float = 1.0) -> None:
        super().__init__([Exponential(length)], elements, amplitude)
        self.length = length

    @property
    def parameters_given(self) -> Mapping[str, Any]:
        return {"length": self.length}

"""Conjugate gradients for several positive definite systems at once, warm-started and preconditioned."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Of the square of the residual, below which a step would be one of rounding errors.
_ROUNDING = 1e-26

Operator = Callable[[Tensor], Tensor]


class ConjugateGradients:
    """Solves ``H_k x_k = b_k``, one step at a time for all of them (Saad, Iterative Methods, 2003, algorithm 9.1).

    Parameters
    ----------
    start : Tensor of shape (K, P)
    residual : Tensor of shape (K, P)
        ``b - H x`` there.
    precondition : callable
        Approximately ``H^-1``, of a tensor (K, P); symmetric and positive definite.

    Attributes
    ----------
    solution : Tensor of shape (K, P)
    """

    def __init__(self, start: Tensor, residual: Tensor, precondition: Operator) -> None:
        self.solution, self._residual, self._precondition = start.clone(), residual.clone(), precondition
        self.direction = precondition(self._residual)
        self._size = _products(self._residual, self.direction)
        self._solved = _ROUNDING * self._size

    def step(self, image: Tensor) -> Tensor:
        """One step, with ``image`` the product of ``H`` and :attr:`direction`; its lengths (K,) along the directions.

        A system that is solved to rounding stays where it is.
        """
        curvature = _products(self.direction, image)
        length = (self._size / curvature).where((curvature > 0) & (self._size > self._solved), 0.0)
        self.solution.addcmul_(length[:, None], self.direction)
        self._residual.addcmul_(length[:, None], image, value=-1.0)
        towards = self._precondition(self._residual)
        size = _products(self._residual, towards)
        turn = (size / self._size).where(self._size > self._solved, 0.0)
        self.direction = torch.addcmul(towards, turn[:, None], self.direction)
        self._size = size
        return length


def _products(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1)

"""Leave-one-out in closed form, in time linear in the number of labels of the structure left out.

``H = half^T half`` (n, n), ``half = R^-T B^T`` (M, n) of the structure's rows, holds the leverages of its labels. What
a prediction without the structure takes is a function of ``I - H`` or, where there are more labels than inducing
environments, of the smaller ``I - half half^T`` (M, M), by the push-through identity

    (I - half^T half)^-1 = I + half^T (I - half half^T)^-1 half,

a sum of positive terms: nothing cancels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernpot.errors import NumericalError


class WithoutStructure:
    """One structure's labels had the structure been left out of the fit, divided by their noise.

    Parameters
    ----------
    half : Tensor (M, n)
        ``R^-T B^T`` of its rows divided by their noise.
    size : float
        Frobenius norm of these rows, or of what they are before a matrix of norm at most one is applied.

    Raises
    ------
    NumericalError
        If a leverage exceeds one beyond rounding: the posterior was then not fitted with these rows.
    """

    def __init__(self, half: Tensor, size: float) -> None:
        self._half, self._many = half, half.shape[1] > half.shape[0]
        self._gram = half @ half.mT if self._many else half.mT @ half
        self._root = inverse_root(self._gram, max(half.shape), size)

    def residual(self, residual: Tensor) -> Tensor:
        """Residual (n,) of the prediction without the structure, from that of the fit (n,)."""
        if self._many:
            return residual + self._half.mT @ (self._root.mT @ (self._root @ (self._half @ residual)))
        found: Tensor = self._root.mT @ (self._root @ residual)
        return found

    def variance(self) -> Tensor:
        """Parameter variances (n,) of that prediction: the diagonal of ``(I - H)^-1 - I``."""
        if self._many:
            return (self._root @ self._half).square().sum(dim=0)
        # H + H (I - H)^-1 H
        return self._gram.diagonal() + (self._root @ self._gram).square().sum(dim=0)


def inverse_root(gram: Tensor, n: int, size: float) -> Tensor:
    """``X`` (k, k) with ``X^T X = (I - gram)^-1``, eigenvalues of ``I - gram`` below rounding taken as that.

    Parameters
    ----------
    gram : Tensor (k, k)
        Symmetric, eigenvalues from zero to one.
    n : int
        Number of labels or of inducing environments, whichever is more.
    size : float
        See `WithoutStructure`.

    Raises
    ------
    NumericalError
        As `WithoutStructure`.
    """
    # QR is exact for rows changed by eps relative to their size, which moves |R^-T b| by as much since |R^-1| <= 1.
    rounding = torch.finfo(gram.dtype).eps * (100 * n + size)
    unit = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    lower, failed = torch.linalg.cholesky_ex(unit - gram)
    if not failed:
        root: Tensor = torch.linalg.solve_triangular(lower, unit, upper=False)
        # The sum of the inverse eigenvalues is not less than the largest of them: none was below rounding.
        if float(root.square().sum()) <= 1 / rounding:
            return root
    leverage, basis = torch.linalg.eigh(gram)
    largest = float(leverage[-1])
    if not largest <= 1 + rounding:
        raise NumericalError(
            f"leave-one-out needs leverages of at most 1, got 1 + {largest - 1:.3g}: these rows, at this noise and "
            f"these amplitudes, are not among those the posterior was fitted with; fit again or pass the fitted rows"
        )
    remaining = (1 - leverage.clamp(min=0.0)).clamp(min=rounding)
    return (basis / remaining.sqrt()).mT

"""What labels would teach: growth of the log determinant of the posterior precision."""

from __future__ import annotations

import torch
from scipy.linalg.lapack import dtpqrt
from torch import Tensor

from kernpot.errors import KernpotError


def log_det(half: Tensor) -> float:
    """``log det(I + half^T half)`` of a matrix (M, n), by the smaller of its two sizes."""
    if half.shape[0] < half.shape[1]:
        half = half.mT
    gram = half.mT @ half
    gram.diagonal().add_(1.0)
    return 2 * float(torch.linalg.cholesky(gram).diagonal().log().sum())


# Columns that LAPACK reflects at once.
_PANEL = 32


def gain(root: Tensor, rows: Tensor) -> float:
    """``log det(I + B (R^T R)^-1 B^T)`` of rows (n, M) for a root (M, M)."""
    return log_det(torch.linalg.solve_triangular(root.mT, rows.mT, upper=False))


def updated(root: Tensor, rows: Tensor) -> Tensor:
    """Upper triangle (M, M) of ``[R; B]``, of which the zeros in ``R`` are made use of; 2 n M^2 operations."""
    panel = min(_PANEL, len(root))
    triangle, _, _, info = dtpqrt(0, panel, root.numpy(), rows.numpy())
    if info:
        raise KernpotError(f"LAPACK's tpqrt refused argument {-info}: root {tuple(root.shape)}, rows {rows.shape}.")
    return torch.from_numpy(triangle)

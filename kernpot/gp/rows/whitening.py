"""Cholesky factors of the inducing covariances: rows are whitened by them, block by block."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from kernpot.errors import JitterWarning, NumericalError
from kernpot.functionals.state import InducingBlock

# The unit-amplitude covariance has ones on its diagonal, so the jitter is relative to trace / M.
_JITTER = 1e-10
_LARGEST = 1e-5


class Whitening:
    """Factor ``L`` of ``K_MM + jitter`` for unit amplitude, one per inducing block.

    Whitened rows ``phi L^-T`` keep the square-root solver well conditioned (Foster et al., JMLR 10, 857 (2009)).

    Parameters
    ----------
    blocks : sequence of InducingBlock

    Attributes
    ----------
    jitter : list of float
        Jitter used by each block, starting at 1e-10 and grown tenfold (with a warning) until the factor exists.
    block : Tensor of shape (M,), int64
        Block of every inducing environment.
    """

    def __init__(self, blocks: Sequence[InducingBlock]) -> None:
        self.blocks = list(blocks)
        factors = [_factor(b) for b in self.blocks]
        self.factors = [f for f, _ in factors]
        self.jitter = [j for _, j in factors]
        sizes = torch.tensor([len(b.environments) for b in self.blocks])
        self.block = torch.repeat_interleave(torch.arange(len(self.blocks)), sizes)

    def __call__(self, rows: Tensor) -> Tensor:
        """Whitened rows, (n, M) to (n, M)."""
        out = torch.empty_like(rows)
        for block, factor in zip(self.blocks, self.factors, strict=True):
            out[:, block.columns] = torch.linalg.solve_triangular(factor, rows[:, block.columns].mT, upper=False).mT
        return out

    def enlarged(self, whitened: Tensor, old: Whitening) -> Tensor:
        """Whitened weights (M + k,) that make the same function as those (M,) of blocks that these begin with."""
        out = whitened.new_zeros(len(self.block))
        for before, after in zip(old.blocks, self.blocks, strict=True):
            start = after.columns.start
            out[start : start + len(before.environments)] = whitened[before.columns]
        return out

    def weights(self, whitened: Tensor) -> Tensor:
        """Weights of unwhitened rows from weights of whitened ones, ``L^-T w``; (..., M) to (..., M)."""
        out = torch.empty_like(whitened)
        for block, factor in zip(self.blocks, self.factors, strict=True):
            part = whitened[..., block.columns].reshape(-1, len(factor)).mT
            solved = torch.linalg.solve_triangular(factor.mT, part, upper=True).mT
            out[..., block.columns] = solved.reshape(out[..., block.columns].shape)
        return out


def _factor(block: InducingBlock) -> tuple[Tensor, float]:
    u = block.environments
    k = block.function.value(u @ u.T)
    jitter = _JITTER
    while jitter <= _LARGEST:
        factor, info = torch.linalg.cholesky_ex(k + jitter * torch.eye(len(k), dtype=k.dtype))
        if int(info) == 0:
            if jitter > _JITTER:
                warnings.warn(
                    f"the covariance of the {len(k)} inducing environments of element {block.element} needed jitter "
                    f"{jitter:.0e} (1e-10 is usual): they are nearly dependent; fewer of them lose nothing.",
                    JitterWarning,
                    stacklevel=2,
                )
            return factor, jitter
        jitter *= 10
    raise NumericalError(
        f"the covariance of the inducing environments of element {block.element} is not positive definite even with "
        f"jitter {_LARGEST:.0e}. Check the features for NaN, or use fewer inducing environments."
    )

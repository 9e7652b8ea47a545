"""Draws from the prior over energies of environments less what inducing environments represent of them.

With ``f`` a function drawn from the prior (:mod:`kernpot.kernels.functions`), ``f(u) - k_uM (K_MM + eps)^-1 (f(M) +
sqrt(eps) xi)`` is one of what the inducing environments leave undetermined (pathwise conditioning; Wilson et al., ICML
2020, arXiv 2002.09309). Its covariance is ``k(u, u') - k_uM (K_MM + eps)^-1 k_Mu'`` whatever the jitter ``eps``, hence
the second noise ``xi``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kernpot.functionals.state import InducingBlock
from kernpot.kernels.forms import LocalEnergies


def represented_weights(
    block: InducingBlock, factor: Tensor, jitter: float, prior: LocalEnergies, generator: torch.Generator
) -> Tensor:
    """Weights (m,) of what the inducing environments represent of a prior draw, ``(K_MM + eps)^-1 (f(M) + noise)``.

    Parameters
    ----------
    block : InducingBlock
    factor : Tensor of shape (m, m)
        Lower Cholesky factor of ``K_MM + eps``.
    jitter : float
        ``eps``.
    prior : LocalEnergies
        A single function.
    generator : torch.Generator
        For the noise.
    """
    values, _ = prior(block.environments if block.basis is None else block.environments @ block.basis.T)
    noise = torch.randn(values.shape, dtype=torch.float64, generator=generator)
    weights: Tensor = torch.cholesky_solve(values + math.sqrt(jitter) * noise, factor)
    return weights[:, 0]

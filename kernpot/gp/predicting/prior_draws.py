"""Draws from the prior over energies of environments, and their part that inducing environments cannot represent.

A function drawn from the prior ``GP(0, (u.u')^zeta)`` is

    zeta = 1    g . u,        g ~ N(0, I)
    zeta = 2    u^T G u,      G_ij ~ N(0, 1) independent
    zeta > 2    S^(-1/2) sum_s e_s prod_(j=1..zeta) r_sj . u,    e_s ~ N(0, 1),   r_sj of random signs

The first two are exact: ``E (u^T G u)(u'^T G u') = sum_ij u_i u_j u'_i u'_j = (u.u')^2``, and ``u^T G u`` does not
notice when ``G`` is made symmetric. The third (random Maclaurin features; Kar and Karnick, AISTATS 2012) has the
prior's covariance exactly when its signs are drawn anew for every function, which they are. It is Gaussian only for
many products: the excess kurtosis of a value is below ``3^(zeta + 1) / S``.

With ``f`` such a function, ``f(u) - k_uM (K_MM + eps)^-1 (f(M) + sqrt(eps) xi)`` is one of what the inducing
environments leave undetermined (pathwise conditioning; Wilson et al., ICML 2020, arXiv 2002.09309). Its covariance is
``k(u, u') - k_uM (K_MM + eps)^-1 k_Mu'`` whatever the jitter ``eps``, hence the second noise ``xi``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kernpot.functionals.state import InducingBlock
from kernpot.surfaces.forms import LinearForms, LocalEnergies, QuadraticForms, RandomProducts, Sum, weighted

# Products in a function for zeta > 2.
_PRODUCTS = 512


PriorDraw = LinearForms | QuadraticForms | RandomProducts


def draw_prior(zeta: int, n_features: int, generator: torch.Generator) -> PriorDraw:
    """One function from the prior of unit amplitude."""
    normal: dict[str, Any] = {"dtype": torch.float64, "generator": generator}
    if zeta == 1:
        return LinearForms(torch.randn((1, n_features), **normal))
    if zeta == 2:
        form = torch.randn((n_features, n_features), **normal)
        return QuadraticForms([0.5 * (form + form.T)])
    shape = (zeta, _PRODUCTS, n_features)
    signs = torch.randint(0, 2, shape, dtype=torch.int8, generator=generator).mul_(2).sub_(1)
    return RandomProducts([signs], [torch.randn(_PRODUCTS, **normal) / math.sqrt(_PRODUCTS)])


def represented_weights(
    block: InducingBlock, factor: Tensor, jitter: float, prior: PriorDraw, generator: torch.Generator
) -> Tensor:
    """Weights (m,) of what the inducing environments represent of a prior draw, ``(K_MM + eps)^-1 (f(M) + noise)``.

    Parameters
    ----------
    block : InducingBlock
    factor : Tensor of shape (m, m)
        Lower Cholesky factor of ``K_MM + eps``.
    jitter : float
        ``eps``.
    prior : PriorDraw
    generator : torch.Generator
        For the noise.
    """
    values, _ = prior(block.environments if block.basis is None else block.environments @ block.basis.T)
    noise = torch.randn(values.shape, dtype=torch.float64, generator=generator)
    weights: Tensor = torch.cholesky_solve(values + math.sqrt(jitter) * noise, factor)
    return weights[:, 0]


def with_priors(block: InducingBlock, weights: Tensor, priors: Sequence[PriorDraw], amplitude: float) -> LocalEnergies:
    """Functions ``sum_m w_km k(u, u_m) + amplitude f_k(u)``.

    Parameters
    ----------
    block : InducingBlock
    weights : Tensor of shape (K, m)
    priors : sequence of K PriorDraw
    amplitude : float
        Of the prior draws, eV.
    """
    functions = weighted(block, weights)
    if isinstance(functions, LinearForms):
        vectors = torch.cat([p.vectors for p in priors if isinstance(p, LinearForms)])
        return LinearForms(functions.vectors + amplitude * vectors)
    if isinstance(functions, QuadraticForms):
        own = functions.in_all_directions().forms
        drawn = [form for p in priors if isinstance(p, QuadraticForms) for form in p.forms]
        return QuadraticForms([a.add_(g, alpha=amplitude) for a, g in zip(own, drawn, strict=True)])
    products = [p for p in priors if isinstance(p, RandomProducts)]
    signs = [s for p in products for s in p.signs]
    return Sum(functions, RandomProducts(signs, [amplitude * c for p in products for c in p.coefficients]))

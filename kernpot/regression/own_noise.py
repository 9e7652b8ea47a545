"""How far the weights move when every structure has noise of its own: what the choice of one noise for all decides.

Noise of one size for all labels of a kind is right where the model is. Where labels differ from it by more than noise,
they may do so in few structures by far the most, and these pull the weights away from what the others say, perhaps all
in one direction. The posterior does not know of that: it takes the pulls as
independent. Weights under noise that follows each structure's own errors are pulled less (a Student's t likelihood with
one scale for each structure, by iterative reweighting; Lange, Little and Taylor, J. Am. Stat. Assoc. 84, 881 (1989)).
Both are fair estimates, and where the model is right they agree, so that their difference tells how wrong it is
(Hausman, Econometrica 46, 1251 (1978)), for everything that is computed from the weights.

In the coordinates ``x = R w`` of the posterior, with columns ``H = R^-T B^T`` of labels divided by their noise and
precisions ``p`` in place of one,

    (I + H (P - I) H^T) x' = x + H (P - I) y,

whose eigenvalues lie between the extremes of ``p`` and one: nothing is lost to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from kernpot.regression.leverage import WithoutStructure
from kernpot.regression.posterior import Posterior

# Reweightings; the first makes three quarters of the difference, the third all but a few per cent.
_ITERATIONS = 3
# Labels of unit size that every structure counts beside its own: one label alone does not set its own noise to nothing.
# Of one and four, one was chosen on copper (docs/uncertainty.md).
_PRIOR_LABELS = 1.0
# Range of the precisions.
_LEAST, _LARGEST = 0.01, 100.0


def own_noise_shift(posterior: Posterior, rows: Iterable[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Change (M,) of the whitened weights when the noise of each structure is that of its own errors, left out.

    The mean logarithm of the noise over labels stays. Structures that are not given keep their noise.

    Parameters
    ----------
    posterior : Posterior
        Fitted with all structures.
    rows : iterable of Tensor of shape (n, M)
        Of each structure, asked for one after the other; amplitude-scaled whitened rows divided by their noise.
    targets : sequence of Tensor of shape (n,)
        Labels divided by their noise.
    """
    if not targets:
        return torch.zeros_like(posterior.whitened_weights)
    halves, norms = [], []
    for r in rows:
        halves.append(posterior.half(r))
        norms.append(float(r.norm()))
    sizes = torch.tensor([len(y) for y in targets])
    start = posterior.root @ posterior.whitened_weights
    x, lower, precisions = start, None, [1.0] * len(targets)
    for _ in range(_ITERATIONS):
        spread = torch.tensor(
            [_spread(*of, x, lower) for of in zip(halves, targets, precisions, norms, strict=True)], dtype=x.dtype
        )
        level = (sizes * spread.log()).sum() / sizes.sum()
        precisions = (level.exp() / spread).clamp(_LEAST, _LARGEST).tolist()
        matrix, right = torch.eye(len(x), dtype=x.dtype, device=x.device), start.clone()
        for half, y, precision in zip(halves, targets, precisions, strict=True):
            matrix.addmm_(half, half.mT, alpha=precision - 1)
            right.addmv_(half, y, alpha=precision - 1)
        lower = torch.linalg.cholesky(matrix)
        x = torch.cholesky_solve(right[:, None], lower)[:, 0]
    shift: Tensor = torch.linalg.solve_triangular(posterior.root, (x - start)[:, None], upper=True)[:, 0]
    return shift


def _spread(half: Tensor, targets: Tensor, precision: float, norm: float, x: Tensor, lower: Tensor | None) -> float:
    """Mean square error of a structure left out at its precision, in units of the noise squared.

    ``lower`` is the Cholesky factor of what precisions make of the posterior's unit matrix.
    """
    root = precision**0.5
    inner = half if lower is None else torch.linalg.solve_triangular(lower, half, upper=False)
    errors = WithoutStructure(root * inner, norm * root).residual(root * (targets - half.mT @ x)) / root
    return (_PRIOR_LABELS + float(errors.square().sum())) / (_PRIOR_LABELS + len(targets))

"""Choice of inducing environments among candidates of one element."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from torch import Tensor

DUPLICATE_DISTANCE = 1e-6
"""Environments whose unit features are closer than this are the same to the model; only one is selected."""

_LEADERS = 256  # any number is exact; from 256 to 1024 it makes no difference to the speed at 13000 candidates
_RESOLVED_VARIANCE = 1e-6  # mean square of a unit feature vector along directions that count for leverage

Method = Literal["fps", "cur", "leverage", "random"]
METHODS: tuple[str, ...] = get_args(Method)
"""Ways to choose."""


def select_environments(
    features: Tensor | NDArray[np.float64],
    n_select: int,
    method: str = "fps",
    random_state: int | np.random.RandomState | None = None,
) -> NDArray[np.int64]:
    """Choose representative environments.

    Methods: ``"fps"``, farthest point sampling from a random start; ``"cur"``, sampling without
    replacement in proportion to the leverage on the leading right singular vectors, those holding more than 1e-6 of the
    mean squared norm (Mahoney and Drineas 2009); ``"leverage"``, the same with the ridge leverage
    ``u^T (U^T U + 1e-6 n I)^-1 u`` (Alaoui and Mahoney 2015); ``"random"``, uniform.

    Parameters
    ----------
    features : Tensor or ndarray (n, d)
        Unit-normalised features, one row per candidate.
    n_select : int
        Number of environments wanted.
    method : {"fps", "cur", "leverage", "random"}
        How to choose.
    random_state : int, RandomState or None
        Seed, as in scikit-learn.

    Returns
    -------
    ndarray of int64 (at most n_select,)
        Indices in order of selection, which for ``"fps"`` is by decreasing distance. Fewer than `n_select` when there
        are not that many environments further than `DUPLICATE_DISTANCE` apart.

    Raises
    ------
    ValueError
        If `n_select` is smaller than one, the method is unknown, or the features are empty, not finite or not
        normalised.
    """
    u = np.ascontiguousarray(torch.as_tensor(features).detach().cpu().numpy(), dtype=np.float64)
    u = _normalised(u, n_select, method)
    random = check_random_state(random_state)
    if method == "fps":
        return _farthest(u, n_select, int(random.randint(len(u))))
    weights = np.ones(len(u)) if method == "random" else _leverage(u, ridge=method == "leverage")
    # The largest of log(weight) + Gumbel noise is a draw in proportion to weight; sorted, draws without replacement.
    with np.errstate(divide="ignore"):
        order = np.argsort(-(np.log(weights) + random.gumbel(size=len(u))), kind="stable")
    return _distinct(u, order, n_select)


def _farthest(u: NDArray[np.float64], n_select: int, first: int) -> NDArray[np.int64]:
    """Greedy farthest point sampling, exact.

    Distances to the selected set only ever shrink, so among the leaders, the candidates that were farthest when all
    distances were last computed, the farthest is the farthest of all as long as it beats what the others had then.
    """
    chosen, n_counted = [first], 0
    nearest = np.full(len(u), np.inf)
    while len(chosen) < n_select:
        closest = (u @ u[chosen[n_counted:]].T).max(axis=1)
        nearest, n_counted = np.minimum(nearest, 2 - 2 * closest), len(chosen)
        order = np.argsort(-nearest, kind="stable")
        leaders = order[:_LEADERS]
        others = nearest[order[_LEADERS]] if len(u) > _LEADERS else 0.0
        v, distances = u[leaders], nearest[leaders]
        while len(chosen) < n_select and distances.max() >= max(others, DUPLICATE_DISTANCE**2):
            farthest = int(distances.argmax())
            chosen.append(int(leaders[farthest]))
            distances = np.minimum(distances, 2 - 2 * (v @ v[farthest]))
        if len(chosen) == n_counted:
            break
    return np.array(chosen, dtype=np.int64)


def _leverage(u: NDArray[np.float64], ridge: bool) -> NDArray[np.float64]:
    """Leverage (n,) of each row on the resolved directions, from the d x d covariance."""
    values, vectors = np.linalg.eigh(u.T @ u / len(u))
    if ridge:
        inverse = 1 / (values.clip(min=0) + _RESOLVED_VARIANCE)
    else:
        inverse = (values > _RESOLVED_VARIANCE) / values.clip(min=_RESOLVED_VARIANCE)
    scores: NDArray[np.float64] = (u @ vectors) ** 2 @ inverse
    return scores


def select_new(features: Tensor, existing: Tensor) -> NDArray[np.int64]:
    """Indices of the rows of `features` (n, d) that duplicate none of `existing` (m, d) and no earlier row.

    Rows of both are unit-normalised; duplicates are closer than `DUPLICATE_DISTANCE`.
    """
    kept = existing.numpy()
    chosen: list[int] = []
    for index, u in enumerate(features.numpy()):
        if 2 - 2 * float((kept @ u).max()) >= DUPLICATE_DISTANCE**2:
            kept = np.concatenate([kept, u[None]])
            chosen.append(index)
    return np.array(chosen, dtype=np.int64)


def _distinct(u: NDArray[np.float64], order: NDArray[np.intp], n_select: int) -> NDArray[np.int64]:
    """First `n_select` of `order` that are no duplicates of an earlier one."""
    kept = np.empty((min(n_select, len(u)), u.shape[1]))
    chosen: list[int] = []
    for index in order:
        n = len(chosen)
        if n == len(kept):
            break
        if n == 0 or 2 - 2 * float((kept[:n] @ u[index]).max()) >= DUPLICATE_DISTANCE**2:
            kept[n] = u[index]
            chosen.append(int(index))
    return np.array(chosen, dtype=np.int64)


def _normalised(u: NDArray[np.float64], n_select: int, method: str) -> NDArray[np.float64]:
    """Check the arguments and remove rounding from the norms, which distances of duplicates would notice."""
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    if n_select < 1:
        raise ValueError(f"n_select: expected at least 1 inducing environment, got {n_select}")
    if u.ndim != 2 or 0 in u.shape:
        raise ValueError(f"features: expected a non-empty array (n, d), got shape {u.shape}; there are no environments")
    bad = np.flatnonzero(~np.isfinite(u).all(axis=1))
    if len(bad):
        raise ValueError(f"features: expected finite numbers, got {len(bad)} rows with NaN or inf, first row {bad[0]}")
    norms = np.linalg.norm(u, axis=1, keepdims=True)
    worst = float(np.abs(norms - 1).max())
    if worst > 1e-6:
        raise ValueError(f"features: expected rows of unit norm, got norms off by up to {worst:.3g}; normalise them")
    unit: NDArray[np.float64] = u / norms
    return unit

"""How large the errors are, and whether the predicted standard deviations tell the truth about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

FloatArray = NDArray[np.float64]

LEVELS = (0.5, 0.68, 0.9, 0.95)


@dataclass(frozen=True)
class Metrics:
    r"""Errors and calibration of one kind of label, over all structures or those of one `config_type`.

    Attributes
    ----------
    kind : str
        ``"energy"`` (per atom), ``"forces"`` or ``"stress"``.
    config_type : str
        Name of the group; ``"all"`` for all structures.
    unit : str
        Unit of `mae`, `rmse` and `sharpness`: meV/atom, eV/Angstrom or GPa.
    n_structures, n_components : int
        Size of the sample: structures are independent, components of one structure are not.
    mae, rmse : float
        Mean absolute and root mean square error.
    coverage : mapping of float to float
        For each level of `LEVELS`, the share of labels inside the central interval of that level.
    coverage_range : tuple of float or None
        90 % confidence range of ``coverage[0.9]`` (see `coverage_range`); None with a single structure.
    rms_z : float
        Root mean square of error / std; 1 is ideal, above 1 is over-confident.
    width_factor : float
        Factor on every std that would make the 90 % intervals of this sample cover 90 %.
    spearman : float or None
        Rank correlation of \|error\| and std: does the std know where the errors are? None where it is undefined.
        Even perfect Gaussian stds stay well below 1.
    sharpness : float
        Root mean square of the std: of two calibrated models the sharper one knows more.
    """

    kind: str
    config_type: str
    unit: str
    n_structures: int
    n_components: int
    mae: float
    rmse: float
    coverage: Mapping[float, float]
    coverage_range: tuple[float, float] | None
    rms_z: float
    width_factor: float
    spearman: float | None
    sharpness: float


def compute_metrics(
    kind: str, config_type: str, unit: str, error: FloatArray, std: FloatArray, structure: NDArray[np.int64]
) -> Metrics:
    """Metrics of a sample of errors.

    Parameters
    ----------
    kind, config_type, unit : str
        What the sample is.
    error, std : ndarray of shape (n,)
        Predicted mean minus label, and the predicted standard deviation; n > 0.
    structure : ndarray of int of shape (n,)
        Which structure each component belongs to.

    Raises
    ------
    ValueError
        If the sample is empty.
    """
    if error.size == 0:
        raise ValueError(f"no {kind} labels in {config_type!r}: at least one is needed")
    z = standardised(error, std)
    return Metrics(
        kind=kind,
        config_type=config_type,
        unit=unit,
        n_structures=len(np.unique(structure)),
        n_components=error.size,
        mae=float(np.abs(error).mean()),
        rmse=float(np.sqrt(np.mean(error**2))),
        coverage={level: float(np.mean(covered(z, level))) for level in LEVELS},
        coverage_range=coverage_range(z, structure),
        rms_z=float(np.sqrt(np.mean(z**2))),
        width_factor=float(np.quantile(np.abs(z), 0.9, method="higher") / norm.ppf(0.95)),
        spearman=rank_correlation(np.abs(error), std),
        sharpness=float(np.sqrt(np.mean(std**2))),
    )


def standardised(error: FloatArray, std: FloatArray) -> FloatArray:
    """Error in units of its std; infinite where a std of zero met an error, 0 where it met none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((error == 0) & (std == 0), 0.0, error / std)


def covered(z: FloatArray, level: float) -> NDArray[np.bool_]:
    """Which labels lie inside the central Gaussian interval of probability `level`."""
    return np.abs(z) <= norm.ppf(0.5 * (1.0 + level))


def coverage_range(z: FloatArray, structure: NDArray[np.int64], level: float = 0.9) -> tuple[float, float] | None:
    """90 % confidence range of the coverage at `level`, knowing that components of one structure are not independent.

    Wilson's interval with the effective sample size ``p (1 - p) / v``, where v is the variance of the coverage p
    between structures (linearised ratio estimator: Cochran, Sampling Techniques, 3rd ed., eq. 6.13). Where all or none
    are covered v says nothing, and structures are counted instead of components.

    Returns
    -------
    low, high : float
        None for a single structure.
    """
    _, owner = np.unique(structure, return_inverse=True)
    n_structures = int(owner.max()) + 1
    if n_structures < 2:
        return None
    sizes = np.bincount(owner)
    hits = np.bincount(owner, weights=covered(z, level))
    share = hits.sum() / z.size
    variance = n_structures / (n_structures - 1) * np.sum((hits - share * sizes) ** 2) / z.size**2
    if share in (0.0, 1.0):
        n_effective = float(n_structures)
    else:
        n_effective = float(z.size) if variance == 0 else float(np.clip(share * (1 - share) / variance, 1, z.size))
    quantile = norm.ppf(0.95)
    spread = quantile**2 / n_effective
    centre = (share + spread / 2) / (1 + spread)
    half = np.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))


def rank_correlation(a: FloatArray, b: FloatArray) -> float | None:
    """Spearman's rank correlation; None for fewer than three values or when one side is constant."""
    if a.size < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])

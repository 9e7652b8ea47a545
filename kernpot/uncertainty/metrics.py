"""How large the errors are, and whether the predicted standard deviations tell the truth about them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernpot.tails import half_width, normal_score
from kernpot.uncertainty.sampling_error import Range, bootstrap_ranges, coverage_range
from kernpot.uncertainty.scores import (
    MIN_PER_BIN,
    FloatArray,
    covered,
    equal_count_bins,
    expected_normalised_calibration_error,
    miscalibration_area,
    negative_log_likelihood,
    norm_coverage,
    oracle_rank_correlation,
    rank_correlation,
    ranked_probability_score,
    standardised,
)

LEVELS = (0.5, 0.68, 0.9, 0.95)
N_DECILES = 10


@dataclass(frozen=True)
class Decile:
    """Calibration in one tenth of the components, by predicted std.

    Attributes
    ----------
    std : float
        Root mean square of the predicted stds in it.
    coverage : float
        Share of labels inside 90 % intervals.
    coverage_range : tuple of float or None
        Its 90 % confidence range, structures counted as independent.
    rms_z : float
        Root mean square of error / std.
    """

    std: float
    coverage: float
    coverage_range: Range | None
    rms_z: float


@dataclass(frozen=True)
class Metrics:
    r"""Errors and calibration of one kind of label, over all structures or those of one `config_type`.

    Components that vanish by symmetry count in `mae` and `rmse` only: no interval could miss them. Where all do, the
    numbers about calibration are NaN.

    Attributes
    ----------
    kind : str
        ``"energy"`` (per atom), ``"forces"`` or ``"stress"``.
    config_type : str
        Name of the group; ``"all"`` for all structures.
    unit : str
        Unit of `mae`, `rmse`, `sharpness` and `crps`: meV/atom, eV/Angstrom or GPa.
    n_structures, n_components : int
        Size of the sample: structures are independent, components of one structure are not.
    n_structures_judged : int
        Structures with components that do not vanish by symmetry.
    n_vanishing : int
        Components among them that vanish by symmetry (`kernpot.uncertainty.scores.vanishing`).
    mae, rmse : float
        Mean absolute and root mean square error.
    coverage : mapping of float to float
        For each level of `LEVELS`, the share of labels inside the central interval of that level.
    coverage_range : tuple of float or None
        90 % confidence range of ``coverage[0.9]`` (`kernpot.uncertainty.sampling_error.coverage_range`); None with a
        single structure.
    norm_coverage : mapping of float to float or None
        The same for force vectors, by their norm (chi_3); None for energies and stress.
    rms_z : float
        Root mean square of error / std; 1 is ideal, above 1 is over-confident.
    width_factor : float
        Factor on every std that would make the 90 % intervals of this sample cover 90 %.
    miscalibration_area : float
        Area between reliability curve and diagonal; 0 is ideal.
    ence : float or None
        Expected normalised calibration error over bins of at least 20 components; None below two bins.
    nll : float
        Mean negative log likelihood of the labels in the unit of the data; smaller is better.
    crps : float
        Mean continuous ranked probability score: one number for accuracy and honesty together; smaller is better.
    sharpness : float
        Root mean square of the std: of two calibrated models the sharper one knows more.
    dispersion : float
        Standard deviation of the std over its mean: 0 for one std for all.
    spearman : float or None
        Rank correlation of \|error\| and std: does the std know where the errors are? None where it is undefined.
    spearman_oracle : float or None
        What perfect stds reach: the same stds, errors drawn from them.
    deciles : tuple of Decile
        Coverage in every tenth of the predicted stds, smallest first; empty below 20 components in each.
    ranges : mapping of str to (float, float)
        90 % bootstrap ranges over structures of ``coverage_90``, ``rms_z``, ``crps`` and ``width_factor``; empty
        below five structures.
    """

    kind: str
    config_type: str
    unit: str
    n_structures: int
    n_components: int
    n_structures_judged: int
    n_vanishing: int
    mae: float
    rmse: float
    coverage: Mapping[float, float]
    coverage_range: Range | None
    norm_coverage: Mapping[float, float] | None
    rms_z: float
    width_factor: float
    miscalibration_area: float
    ence: float | None
    nll: float
    crps: float
    sharpness: float
    dispersion: float
    spearman: float | None
    spearman_oracle: float | None
    deciles: tuple[Decile, ...]
    ranges: Mapping[str, Range]

    @property
    def n_judged(self) -> int:
        """Components that calibration is judged by."""
        return self.n_components - self.n_vanishing


def compute_metrics(
    kind: str,
    config_type: str,
    unit: str,
    error: FloatArray,
    std: FloatArray,
    structure: NDArray[np.int64],
    vanishing: NDArray[np.bool_] | None = None,
    degrees_of_freedom: float = math.inf,
) -> Metrics:
    """Metrics of a sample of errors.

    Parameters
    ----------
    kind, config_type, unit : str
        What the sample is. Force components come in threes, atom by atom.
    error, std : ndarray of shape (n,)
        Predicted mean minus label, and the predicted standard deviation; n > 0.
    structure : ndarray of int of shape (n,)
        Which structure each component belongs to.
    vanishing : ndarray of bool of shape (n,), optional
        Components that vanish by symmetry; none when not given.
    degrees_of_freedom : float
        Of the tails that were predicted.

    Raises
    ------
    ValueError
        If the sample is empty, or force components do not come in threes.
    """
    if error.size == 0:
        raise ValueError(f"no {kind} labels in {config_type!r}: at least one is needed")
    if kind == "forces" and error.size % 3:
        raise ValueError(f"force components must come in threes, atom by atom, got {error.size} in {config_type!r}")
    judged = np.full(error.size, True) if vanishing is None else ~vanishing
    score = normal_score(standardised(error, std), degrees_of_freedom)
    return Metrics(
        kind=kind,
        config_type=config_type,
        unit=unit,
        n_structures=len(np.unique(structure)),
        n_components=error.size,
        n_structures_judged=len(np.unique(structure[judged])),
        n_vanishing=int(error.size - judged.sum()),
        mae=float(np.abs(error).mean()),
        rmse=float(np.sqrt(np.mean(error**2))),
        norm_coverage=_norm_coverage(score, judged) if kind == "forces" else None,
        **(
            _calibration(error[judged], std[judged], structure[judged], degrees_of_freedom)
            if judged.any()
            else _NOTHING_TO_JUDGE
        ),
    )


def _calibration(error: FloatArray, std: FloatArray, structure: NDArray[np.int64], nu: float) -> dict[str, Any]:
    z = standardised(error, std)
    score = normal_score(z, nu)
    return {
        "coverage": {level: float(np.mean(covered(score, level))) for level in LEVELS},
        "coverage_range": coverage_range(score, structure),
        "rms_z": float(np.sqrt(np.mean(z**2))),
        "width_factor": float(np.quantile(np.abs(z), 0.9, method="higher") / half_width(0.9, nu)),
        "miscalibration_area": miscalibration_area(score),
        "ence": expected_normalised_calibration_error(error, std),
        "nll": negative_log_likelihood(error, std, nu),
        "crps": float(np.mean(ranked_probability_score(error, std, nu))),
        "sharpness": float(np.sqrt(np.mean(std**2))),
        "dispersion": float(np.std(std) / np.mean(std)) if std.any() else 0.0,
        "spearman": rank_correlation(np.abs(error), std),
        "spearman_oracle": oracle_rank_correlation(std, nu),
        "deciles": _deciles(z, score, std, structure),
        "ranges": bootstrap_ranges(error, std, structure, nu),
    }


_NOTHING_TO_JUDGE: dict[str, Any] = {
    "coverage": dict.fromkeys(LEVELS, math.nan),
    "coverage_range": None,
    **dict.fromkeys(("rms_z", "width_factor", "miscalibration_area", "nll", "crps"), math.nan),
    **dict.fromkeys(("sharpness", "dispersion"), math.nan),
    **dict.fromkeys(("ence", "spearman", "spearman_oracle"), None),
    "deciles": (),
    "ranges": {},
}


def _deciles(z: FloatArray, score: FloatArray, std: FloatArray, structure: NDArray[np.int64]) -> tuple[Decile, ...]:
    if std.size < N_DECILES * MIN_PER_BIN:
        return ()
    return tuple(
        Decile(
            std=float(np.sqrt(np.mean(std[chosen] ** 2))),
            coverage=float(np.mean(covered(score[chosen], 0.9))),
            coverage_range=coverage_range(score[chosen], structure[chosen]),
            rms_z=float(np.sqrt(np.mean(z[chosen] ** 2))),
        )
        for chosen in equal_count_bins(std, N_DECILES)
    )


def _norm_coverage(score: FloatArray, judged: NDArray[np.bool_]) -> dict[float, float] | None:
    found = {level: norm_coverage(score, judged, level) for level in LEVELS}
    return {level: share for level, share in found.items() if share is not None} or None

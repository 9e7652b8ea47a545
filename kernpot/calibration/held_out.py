"""Sharper or wider error bars from structures that the fit has not seen."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from kernpot import tails
from kernpot.calibration.misfit import LabelVariances, Misfit, misfit_variance, tells
from kernpot.calibration.residuals import MIN_STRUCTURES
from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures.identity import identity
from kernpot.structures.kinds import KINDS
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.repeats import without_repeats

# Logarithms of factors that may come out.
_BOUNDS = (-np.log(100.0), np.log(100.0))
# Of the logarithm of that of a group.
_LEAST_OF_GROUP = float(-np.log(5.0))
# Standard deviations below this part of the least misfit are rounding, of labels that vanish by symmetry.
_ROUNDING = 1e-3
# Of a jackknife.
_BLOCKS = 10


@dataclass(frozen=True)
class Rescaled:
    """What held-out structures changed for one kind of label, of all of them or of a group.

    Attributes
    ----------
    structures : int
        Held-out structures with such labels.
    factor : float
        Factor on the misfit; of a group on the standard deviations, on top of that.
    low, high : float
        Ends of the factor's 90 % interval (jackknife over structures).
    crps_before, crps_after : float
        Mean continuous ranked probability score, in eV/atom, eV/A or eV/A^3; smaller is better.
    inside_before, inside_after : float
        Share of labels inside their 90 % intervals.
    """

    structures: int
    factor: float
    low: float
    high: float
    crps_before: float
    crps_after: float
    inside_before: float
    inside_after: float

    @property
    def sure(self) -> bool:
        """Whether the factor's interval leaves out one."""
        return not self.low <= 1.0 <= self.high


class Explained(Protocol):
    """Means, and what the variances about them are made of."""

    def labels(self, atoms: Atoms, kinds: Collection[str]) -> dict[str, tuple[Any, LabelVariances]]:
        """Means of a structure's labels, of the kinds that can be told, and parts of their variances.

        Variances of extensive labels are those per atom.
        """


def calibrate(
    predictor: Explained,
    held_out: Sequence[LabelledStructure],
    misfit: dict[str, Misfit],
    training: Sequence[LabelledStructure],
) -> tuple[dict[str, Misfit], dict[str, dict[str, Any]]]:
    """Misfit scaled, kind by kind, to the least mean continuous ranked probability score on held-out structures.

    One number per kind is what few structures can tell; how the misfit depends on the environment, and tails, stay as
    the fit found them on many more residuals. The score is flat where the epistemic part alone is wider than the
    errors, so the logarithm of the factor has a normal prior of unit variance, worth one structure. Groups
    (``config_type``) of five structures or more have a factor of their own on top, on whole standard deviations but for
    what no label tells anything of, with the same prior: predictions of structures of that group take it. It is at
    least a fifth; it is taken where its interval leaves out one, and there is none where all labels vanish by symmetry.

    Parameters
    ----------
    predictor : Explained
    held_out : sequence of LabelledStructure
    misfit : dict of str to Misfit
        As it is.
    training : sequence of LabelledStructure
        What the fit has seen, as far as it is known.

    Returns
    -------
    misfit : dict of str to Misfit
    found : dict of str to dict
        `Rescaled` of every kind that enough structures have; those of groups by name under ``groups``.

    Raises
    ------
    StructureError
        When no kind of label is held by enough structures, or one of them was in the fit.
    """
    held_out = without_repeats(held_out)
    seen = {identity(s.atoms) for s in training}
    for s in held_out:
        if identity(s.atoms) in seen:
            raise StructureError(
                f"{s.source} was in the fit: its error says nothing of structures to come. Calibrate with structures "
                "that the fit has not seen."
            )
    errors: dict[str, list[NDArray[np.float64]]] = {}
    parts: dict[str, list[LabelVariances]] = {}
    groups: dict[str, list[str]] = {}
    for s in held_out:
        for kind, (predicted, variances) in predictor.labels(s.atoms, s.kinds).items():
            size, known = len(s.atoms) if KINDS[kind].extensive else 1, s.known(kind)
            # NaN where a component is not known: what a rotation mixes stays together.
            errors.setdefault(kind, []).append(np.where(known, np.ravel(predicted - s.label(kind)), np.nan) / size)
            parts.setdefault(kind, []).append(variances)
            groups.setdefault(kind, []).append(s.config_type)
    enough = [kind for kind in KINDS if len(errors.get(kind, [])) >= MIN_STRUCTURES]
    if not enough:
        raise StructureError(
            f"calibrating needs at least {MIN_STRUCTURES} structures with labels of one kind, got "
            f"{ {kind: len(e) for kind, e in errors.items()} or 'none' }; give more held-out structures."
        )
    dropped = {name for m in misfit.values() for name in m.by_group} - {name for g in groups.values() for name in g}
    if dropped:
        warnings.warn(
            f"factors of an earlier calibration are dropped: of {', '.join(sorted(dropped))}. Calibrate with all "
            "groups at once to have one for each.",
            KernpotWarning,
            stacklevel=4,  # whoever called the estimator's calibrate
        )
    changed, told = dict(misfit), {}
    for kind in enough:
        sample = _HeldOut(kind, replace(misfit[kind], by_group={}), errors[kind], parts[kind])
        changed[kind], rescaled = sample.all_together()
        told[kind] = asdict(rescaled) | {"groups": {}}
        for name in sorted({name for name in groups[kind] if name}):
            own = [k for k, group in enumerate(groups[kind]) if group == name]
            found = sample.of(own, changed[kind]) if len(own) >= MIN_STRUCTURES else None
            if found is not None:
                if found.sure:
                    changed[kind] = replace(changed[kind], by_group={**changed[kind].by_group, name: found.factor})
                told[kind]["groups"][name] = asdict(found) | {"taken": found.sure}
        if changed[kind].by_group:
            told[kind]["inside_after"] = sample.inside(changed[kind], groups[kind])
    return changed, told


class _HeldOut:
    """Errors on held-out structures of one kind of label, and what variances are made of."""

    def __init__(
        self, kind: str, misfit: Misfit, errors: Sequence[NDArray[np.float64]], parts: Sequence[LabelVariances]
    ) -> None:
        self._kind, self._misfit, self._errors, self._parts = kind, misfit, errors, parts

    def all_together(self) -> tuple[Misfit, Rescaled]:
        """The misfit with one factor for all."""

        def scaled(factor: float) -> tuple[Misfit, float]:
            constant = max(factor * self._misfit.constant, KINDS[self._kind].floor)
            return replace(self._misfit, constant=constant, factor=factor * self._misfit.factor), 1.0

        found = self._rescaled(range(len(self._errors)), scaled)
        return scaled(found.factor)[0], found

    def of(self, some: Sequence[int], misfit: Misfit) -> Rescaled | None:
        """The factor on standard deviations of some structures; None where nothing of them tells it."""
        if not self._sample(np.array(some)).tells:
            return None
        return self._rescaled(some, lambda factor: (misfit.times(factor), factor), _LEAST_OF_GROUP)

    def inside(self, misfit: Misfit, groups: Sequence[str]) -> float:
        """Share of labels inside 90 % intervals, with the factors of groups."""
        shares, counts = [], []
        for name in sorted(set(groups)):
            sample = self._sample(np.flatnonzero(np.array(groups) == name))
            if not sample.tells:
                continue
            factor = misfit.by_group.get(name, 1.0)
            shares.append(sample.judged(misfit.times(factor), factor)[1])
            counts.append(int(sample.telling.sum()))
        return float(np.average(shares, weights=counts))

    def _rescaled(
        self, some: Sequence[int], scaled: Callable[[float], tuple[Misfit, float]], least: float = _BOUNDS[0]
    ) -> Rescaled:
        blocks = np.array_split(np.array(some), min(_BLOCKS, len(some)))
        samples = [self._sample(np.setdiff1d(some, block)) for block in blocks]
        whole = self._sample(np.array(some))
        best = _best(whole, scaled, least)
        # Of a jackknife's estimates, each without a block of structures.
        without = np.array([_best(sample, scaled, least) for sample in samples])
        n = len(blocks)
        error = float(np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2)))
        reach = tails.half_width(0.9, n - 1) / tails.unit_scale(n - 1) * error
        before, after = whole.judged(*scaled(1.0)), whole.judged(*scaled(float(np.exp(best))))
        low, factor, high = (float(np.exp(best + x)) for x in (-reach, 0.0, reach))
        return Rescaled(len(some), factor, low, high, before[0], after[0], before[1], after[1])

    def _sample(self, some: NDArray[np.int64]) -> _Sample:
        error = np.concatenate([self._errors[k] for k in some])
        found = LabelVariances.joined([self._parts[k] for k in some])
        known = np.isfinite(error)
        own = found.parameter.numpy()
        telling = tells(own, found.pooled.numpy()) & known & (own > (_ROUNDING * KINDS[self._kind].floor) ** 2)
        tell = bool(telling.any())
        return _Sample(self._kind, len(some), error, found, telling if tell else known, tell)


class _Sample(NamedTuple):
    """Errors (n,) of some structures, which of them are judged, and whether these tell of others."""

    kind: str
    structures: int
    error: NDArray[np.float64]
    found: LabelVariances
    telling: NDArray[np.bool_]
    tells: bool

    def judged(self, misfit: Misfit, factor: float) -> tuple[float, float]:
        """Mean CRPS and the share inside 90 % intervals with variances times the square of a factor."""
        found = self.found.scaled(factor**2)
        added, _ = misfit_variance(misfit, found, KINDS[self.kind].together)
        std = (found.parameter + found.unrepresented + added).sqrt().numpy()[self.telling]
        z, nu = self.error[self.telling] / std, misfit.degrees_of_freedom
        return float(np.mean(std * tails.crps(z, nu))), float(np.mean(np.abs(z) <= tails.half_width(0.9, nu)))


def _best(sample: _Sample, scaled: Callable[[float], tuple[Misfit, float]], least: float) -> float:
    """Logarithm of the factor of the least score."""

    def objective(log_factor: float) -> float:
        crps, _ = sample.judged(*scaled(float(np.exp(log_factor))))
        return float(np.log(crps)) + 0.5 * log_factor**2 / sample.structures

    return float(minimize_scalar(objective, bounds=(least, _BOUNDS[1]), method="bounded", options={"xatol": 1e-3}).x)

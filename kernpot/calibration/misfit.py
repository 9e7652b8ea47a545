"""Misfit of labels: what keeps them from the model even where it has data, from errors on structures left out.

One constant cannot serve: strained crystals are missed far less than a melt. The posterior's parameter variance is too
small for either, but in proportion to them, so the misfit variance of a label is

    c^2 + q,   q = a^2 s (s / s_0)^(gamma - 1),   s = (v + v_pool) / 2,

``v`` its parameter variance and ``v_pool`` that of its surroundings, which share the causes of misfit: for forces a
smooth average over neighbours, for stress the mean over components, for an energy per atom the mean over the
structure's force components times the square of a length, the ``reach``, that makes both equally large in training.

Errors on structures left out hold everything that makes labels differ from predictions, so the part ``k`` of the prior
that the inducing environments cannot represent is not in the likelihood they are fitted with: it would take the place
of ``q`` and leave nothing where data end. In predictions ``q`` is added as far as it is not in ``k`` already,

    variance of a label = v + k + c^2 + g q,   g = q / (q + k),

which is ``q`` where ``k`` is small and never less than the epistemic ``v + k``. A constant is admitted when the
residuals ask for it: it does not know the environment, and spoils what is far from the training data.

Outside the data misfit may grow faster than the posterior's variance, as terms come in that were invisible inside.
Training residuals seldom tell, so the exponent ``gamma`` is the largest of a few that they do not speak against.

Errors are a mixture of well and badly described environments: their tails are those of Student's t.

Atoms of one element are missed by more than those of another that seems as well known: standard deviations of forces
have a factor for each, from the same errors, drawn towards a wide one where few structures tell
(:meth:`kernpot.calibration.residuals.LeaveOneOut.misfit`).

Where hardly anything of a label is represented, not even the prior is wide enough: amplitudes were learnt where there
are data, and labels there are often several times the prior. What is known of nothing is as large as labels are. With
``P`` the prior variance of a label and ``T`` the mean square of labels in the fit, ``k`` counts

    k (1 + max(T / P - 1, 0) (k / P)^(1/2)),

which is ``T`` where nothing is represented, and ``k`` where all is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from kernpot.files.parts import number, require
from kernpot.tails import LEAST, negative_log_density

# Largest factor: beyond it the parameter variance is rounding.
_LARGEST_FACTOR = 1e4
# No number of a misfit is beyond it, whatever its unit: squares of larger ones overflow.
_LARGEST = 1e8
# Parameter variances below this part of their surroundings' belong to components that vanish by symmetry: they tell
# nothing of the misfit of others.
_SYMMETRIC = 1e-9
# Tails to choose from; fewer residuals than this cannot tell tails apart and are taken as Gaussian.
_DEGREES_OF_FREEDOM = (math.inf, 20.0, 12.0, 8.0, 6.0, 5.0, 4.0, LEAST)
_FEWEST_FOR_TAILS = 200
# Exponents to choose from, and how much log likelihood (structures counted as independent) a larger one may cost.
_EXPONENTS = (1.0, 1.15, 1.3)
_EXPONENT_COST = 1.0
# Priors below this part of the mean one are those of labels that symmetry makes small.
_LEAST_PRIOR = 0.1
UNTOLD = 2.0
"""Factor on the standard deviations of atoms of an element that no structure left out holds."""


@dataclass(frozen=True)
class Misfit:
    """Misfit of one kind of label.

    Attributes
    ----------
    constant : float
        ``c``, in eV/atom, eV/A or eV/A^3.
    factor : float
        ``a``, without unit.
    degrees_of_freedom : float
        Of Student's t; infinite for Gaussian tails.
    reach : float
        For energies the length, in A, that turns the variance of force components into one of energies per atom.
    exponent, reference : float
        ``gamma``, and ``s_0`` in the unit of the label squared.
    signal, prior : float
        ``T``, and the mean prior variance in the fit; zero where they are not known.
    by_element : dict of int to float
        Factors on standard deviations by atomic number; empty where there are none.
    by_group : dict of str to float
        Factors on standard deviations of structures of a ``config_type``, from structures that the fit has not seen.
    """

    constant: float
    factor: float = 0.0
    degrees_of_freedom: float = math.inf
    reach: float = 0.0
    exponent: float = 1.0
    reference: float = 0.0
    signal: float = 0.0
    prior: float = 0.0
    by_element: Mapping[int, float] = field(default_factory=dict)
    by_group: Mapping[str, float] = field(default_factory=dict)

    def times(self, factor: float) -> Misfit:
        """That of standard deviations times a factor, for variances times its square."""
        return replace(self, constant=factor * self.constant, reference=factor**2 * self.reference, by_group={})

    def of_elements(self, numbers: NDArray[np.int64]) -> Tensor:
        """Factors (n,) on the standard deviations of atoms."""
        if not self.by_element:
            return torch.ones(len(numbers), dtype=torch.float64)
        found, place = np.unique(numbers, return_inverse=True)
        factors = [self.by_element.get(z, UNTOLD) for z in found.tolist()]
        return torch.tensor(factors, dtype=torch.float64)[torch.from_numpy(place)]

    def ignorance(self, unrepresented: Tensor, prior: Tensor, together: int = 1) -> Tensor:
        """How often ``k`` (n,) counts beside once, from the prior variances ``P`` (n,); see the module's text."""
        if self.signal <= 0 or self.prior <= 0:
            return torch.zeros_like(unrepresented)
        k, p = (x.view(-1, together).mean(1) for x in (unrepresented, prior))
        # Where labels vanish by symmetry so does their prior: what is left of it is rounding.
        more = (self.signal / p.clamp(min=_LEAST_PRIOR * self.prior) - 1).clamp(min=0.0)
        part = torch.where(p > 0, k / p, 0.0).clamp(0.0, 1.0)
        return (more * part.sqrt()).repeat_interleave(together)

    def inflation(self, spread: Tensor, together: int = 1) -> Tensor:
        """What makes ``q`` of ``s``, from ``s`` (n,); one number for components that a rotation mixes."""
        if self.exponent == 1:
            return torch.full_like(spread, self.factor**2)
        level = spread.view(-1, together).mean(1).repeat_interleave(together) / self.reference
        return self.factor**2 * level ** (self.exponent - 1)


class LabelVariances(NamedTuple):
    """What the variances of labels are made of.

    Attributes
    ----------
    parameter, pooled, unrepresented : Tensor of shape (n,)
        ``v``, ``v_pool`` and ``k``.
    unseen : Tensor of shape (n,), optional
        What ``k`` counts beside itself, and what no label tells anything of
        (:mod:`kernpot.calibration.unseen_pairs`); none where it is not given.
    """

    parameter: Tensor
    pooled: Tensor
    unrepresented: Tensor
    unseen: Tensor | None = None

    @classmethod
    def joined(cls, parts: Sequence[LabelVariances]) -> LabelVariances:
        """Those of several structures, one after the other."""
        return cls(
            torch.cat([p.parameter for p in parts]),
            torch.cat([p.pooled for p in parts]),
            torch.cat([p.unrepresented for p in parts]),
            torch.cat([torch.zeros_like(p.parameter) if p.unseen is None else p.unseen for p in parts]),
        )

    def scaled(self, factor: Tensor | float) -> LabelVariances:
        """What the fit knows of times a factor; what is unseen stays."""
        parameter, around, unrepresented = (factor * v for v in self[:3])
        return LabelVariances(parameter, around, unrepresented, self.unseen)

    def times(self, factor: Tensor | float) -> LabelVariances:
        """All of them times a factor."""
        parameter, around, unrepresented = (factor * v for v in self[:3])
        return LabelVariances(parameter, around, unrepresented, None if self.unseen is None else factor * self.unseen)


def misfit_variance(misfit: Misfit, found: LabelVariances, together: int = 1) -> tuple[Tensor, Tensor]:
    """What misfit adds to the epistemic variances of labels of one kind.

    Parameters
    ----------
    misfit : Misfit
    found : LabelVariances
    together : int
        Components that a rotation mixes, adjacent: they have one weight, so that variances turn with the structure.

    Returns
    -------
    variance : Tensor of shape (n,)
        ``c^2 + g q``, and what is unseen.
    weight : Tensor of shape (n,)
        ``g q / s``.
    """
    spread = 0.5 * (found.parameter + found.pooled)
    inflation = misfit.inflation(spread, together)
    q, k = ((x.view(-1, together).mean(1)) for x in (inflation * spread, found.unrepresented))
    weight = inflation * torch.where(q > 0, q / (q + k), 0.0).repeat_interleave(together)
    added = misfit.constant**2 + weight * spread
    return added if found.unseen is None else added + found.unseen, weight


def draw_scale(misfit: Mapping[str, Misfit], learnt: Collection[str]) -> float:
    """Factor on the parameter part of draws with which they reproduce errors on structures left out.

    One potential has one scale: that of forces, which are the most; where none were learnt that of energies.

    Parameters
    ----------
    misfit : mapping of str to Misfit
    learnt : collection of str
        Kinds of labels in the fit.
    """
    return math.hypot(1.0, misfit["forces" if "forces" in learnt else "energy"].factor)


def tells(own: NDArray[np.float64], pooled: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Components that do not vanish by symmetry."""
    telling: NDArray[np.bool_] = own > _SYMMETRIC * np.maximum(pooled, own.mean())
    return telling


def fit_misfit(
    residuals: Sequence[NDArray[np.float64]],
    own: Sequence[NDArray[np.float64]],
    pooled: Sequence[NDArray[np.float64]],
    unrepresented: Sequence[NDArray[np.float64]],
    floor: float = 0.0,
    together: int = 1,
) -> Misfit:
    """Misfit that maximises the likelihood of leave-one-structure-out residuals.

    Parameters
    ----------
    residuals : sequence of ndarray
        One array per structure.
    own, pooled, unrepresented : sequence of ndarray
        Parameter variances, those of the surroundings, and the parts the inducing environments cannot represent.
    floor : float
        Least constant.
    together : int
        Adjacent components that a rotation mixes.
    """
    e, v, p, k = (
        np.concatenate([np.ravel(part) for part in parts]) for parts in (residuals, own, pooled, unrepresented)
    )
    telling = tells(v, p)
    scale = float(np.mean(e[telling] ** 2)) if telling.any() else 0.0
    spread = 0.5 * (v + p)[telling]
    if scale <= floor**2 or _LARGEST_FACTOR**2 * float(spread.mean()) < 1e-6 * scale:
        return Misfit(max(float(np.sqrt(np.mean(e**2))), floor))
    level = np.repeat((0.5 * (v + p)).reshape(-1, together).mean(1), together)[telling] / spread.mean()
    n = len(residuals)
    plain = _Sample(e[telling], v[telling], spread, scale, floor)
    without, free = plain.best(constant=False), plain.best(constant=True)
    # Schwarz's criterion for one more parameter; components of one structure are not independent, structures are.
    if (without[0] - free[0]) * n <= 0.5 * math.log(n):
        fits = [without]
        for gamma in _EXPONENTS[1:]:
            sample = _Sample(e[telling], v[telling], spread * level ** (gamma - 1), scale, floor)
            value, misfit = sample.best(constant=False)
            fits.append((value, replace(misfit, exponent=gamma, reference=float(spread.mean()))))
        allowed = min(value for value, _ in fits) + _EXPONENT_COST / n
        return max((misfit for value, misfit in fits if value <= allowed), key=lambda misfit: misfit.exponent)
    found = free[1]
    # Predictions add what is unrepresented, which the constant has taken in.
    parts = LabelVariances(*(torch.from_numpy(x) for x in (v, p, k)))
    added, _ = misfit_variance(found, parts, together)
    in_fit = found.constant**2 + found.factor**2 * 0.5 * (parts.parameter + parts.pooled)
    taken = float((added + parts.unrepresented - in_fit)[torch.from_numpy(telling)].mean())
    return replace(found, constant=max(math.sqrt(max(found.constant**2 - taken, 0.0)), floor))


class _Sample:
    """Residuals and what their variance is made of."""

    def __init__(
        self,
        residuals: NDArray[np.float64],
        own: NDArray[np.float64],
        spread: NDArray[np.float64],
        scale: float,
        floor: float,
    ) -> None:
        self._squares, self._own, self._spread, self._scale = residuals**2, own, spread, scale
        self._families = _DEGREES_OF_FREEDOM if len(residuals) >= _FEWEST_FOR_TAILS else (math.inf,)
        self._ratio, self._least = scale / float(spread.mean()), max(floor**2 / scale, 1e-9)

    def best(self, constant: bool) -> tuple[float, Misfit]:
        """Least mean negative log likelihood over tails, and where it is; with the least constant, or any."""
        return min((self.fit(nu, constant) for nu in self._families), key=lambda found: found[0])

    def fit(self, nu: float, constant: bool) -> tuple[float, Misfit]:
        """Least mean negative log likelihood with ``nu`` degrees of freedom, and where it is."""
        largest = min(100.0, _LARGEST_FACTOR**2 / self._ratio)
        # From a mostly constant and a mostly proportional misfit: the likelihood can have a maximum at either end.
        starts = [(max(0.05, self._least), min(0.95, largest))]
        if constant:
            starts.append((max(0.9, self._least), min(0.1, largest)))
        bounds = [(self._least, max(10.0, self._least) if constant else self._least), (0.0, largest)]
        found = min(
            (
                minimize(self._objective, np.array(s), args=(nu,), jac=True, method="L-BFGS-B", bounds=bounds)
                for s in starts
            ),
            key=lambda r: r.fun,
        )
        c, a = np.sqrt(self._scale * found.x[0]), np.sqrt(self._ratio * found.x[1])
        return float(found.fun), Misfit(float(c), float(a), nu)

    def _objective(self, x: NDArray[np.float64], nu: float) -> tuple[float, NDArray[np.float64]]:
        total = self._own + self._scale * x[0] + self._ratio * x[1] * self._spread
        if math.isinf(nu):
            value = 0.5 * np.mean(np.log(2 * np.pi * total) + self._squares / total)
            slope = 0.5 * (1 - self._squares / total) / total
        else:
            value = np.mean(negative_log_density(np.sqrt(self._squares / total), nu) + 0.5 * np.log(total))
            slope = 0.5 * (1 - (nu + 1) * self._squares / (total * (nu - 2) + self._squares)) / total
        return float(value), np.array([np.mean(slope) * self._scale, np.mean(slope * self._spread) * self._ratio])


def misfit_data(misfit: Misfit) -> dict[str, Any]:
    """JSON has no infinity: Gaussian tails are null."""
    nu = misfit.degrees_of_freedom
    told = {"degrees_of_freedom": nu if np.isfinite(nu) else None}
    return asdict(misfit) | told | {"by_element": {str(z): f for z, f in misfit.by_element.items()}}


def misfit_from(data: dict[str, Any]) -> Misfit:
    """What :func:`misfit_data` told."""
    # Absent until labels had tails of their own.
    nu = data.get("degrees_of_freedom")
    by_element = {int(z): number(factor) for z, factor in data.get("by_element", {}).items()}
    by_group = {str(name): number(factor) for name, factor in data.get("by_group", {}).items()}
    others = ("degrees_of_freedom", "by_element", "by_group")
    numbers = {name: number(value) for name, value in data.items() if name not in others}
    nu = np.inf if nu is None else number(nu)
    misfit = Misfit(**numbers, degrees_of_freedom=nu, by_element=by_element, by_group=by_group)
    least = min(misfit.constant, misfit.factor, misfit.reach, misfit.signal, misfit.prior)
    require(least >= 0, "a number is negative")
    numbered = all(str(int(z)) == z and 0 < int(z) < 120 for z in data.get("by_element", {}))
    require(numbered, "an element is no atomic number")
    factors = [*by_element.values(), *by_group.values()]
    require(all(1e-3 <= f <= 1e3 for f in factors), "a factor of an element or a group is not between 0.001 and 1000")
    require(max(numbers.values()) <= _LARGEST, f"a number is above {_LARGEST:g}")
    require(misfit.exponent == 1 or (misfit.exponent > 1 and misfit.reference > 0), "an exponent has no reference")
    require(misfit.degrees_of_freedom >= LEAST, f"degrees of freedom are below {LEAST:g}")
    return misfit

"""Errors on structures left out, by kind of label, and the misfit they tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from kernpot.calibration.misfit import UNTOLD, LabelVariances, Misfit, fit_misfit, misfit_variance, tells
from kernpot.structures.kinds import KINDS

# Fewer structures than this say nothing about errors on others.
MIN_STRUCTURES = 5
# Errors above so many medians are of odd frames, a dimer among crystals: how large they are says nothing of others.
_ODD = 10.0
# A reach beyond it (A) is none.
_FARTHEST = 10.0


@dataclass(frozen=True)
class LeaveOneOut:
    """Predictions for structures left out: by label kind, one array per structure.

    Attributes
    ----------
    residuals : dict of str to list of ndarray
        eV/atom, eV/A, eV/A^3.
    own, pooled, unrepresented : dict of str to list of ndarray
        Parameter variances, those of the surroundings, and variances the inducing environments cannot represent.
    reach : float
        See :class:`kernpot.calibration.misfit.Misfit`.
    config_types : dict of str to list of str
        Group of each structure, by kind as the residuals.
    whole : dict of str to list of ndarray of bool
        Which components stand with all that a rotation mixes them with; all where none are told.
    numbers : list of ndarray of int
        Atomic numbers of the atoms of force components; of none where they are not known.
    """

    residuals: dict[str, list[np.ndarray]]
    own: dict[str, list[np.ndarray]]
    pooled: dict[str, list[np.ndarray]]
    unrepresented: dict[str, list[np.ndarray]]
    reach: float
    config_types: dict[str, list[str]] = field(default_factory=dict)
    whole: dict[str, list[np.ndarray]] = field(default_factory=dict)
    numbers: list[np.ndarray] = field(default_factory=list)

    def mae(self) -> dict[str, float]:
        """Mean absolute error per label kind."""
        return {kind: float(np.abs(np.concatenate(r)).mean()) for kind, r in self.residuals.items()}

    def mae_by_group(self) -> dict[str, dict[str, Any]]:
        """For each `config_type` the number of structures left out, and the mean absolute error per label kind."""
        names = sorted({name for of_kind in self.config_types.values() for name in of_kind})
        found = {}
        for name in names:
            own = {
                kind: [r for r, group in zip(self.residuals[kind], of_kind, strict=True) if group == name]
                for kind, of_kind in self.config_types.items()
            }
            mae = {kind: float(np.abs(np.concatenate(r)).mean()) for kind, r in own.items() if r}
            found[name] = {"structures": max(map(len, own.values())), "mae": mae}
        return found

    def unrepresented_share(self) -> dict[str, float]:
        """Per label kind, what the inducing environments cannot represent, as a part of the mean squared error."""
        return {
            kind: float(np.concatenate(u).mean() / max(np.mean(np.concatenate(self.residuals[kind]) ** 2), 1e-24))
            for kind, u in self.unrepresented.items()
        }

    def score(self) -> float:
        """Sum over label kinds of the log of the mean absolute error."""
        return log_score(self.mae())

    def misfit(self) -> dict[str, Misfit]:
        """Misfit of every label kind that enough structures have."""
        found = {
            kind: self.misfit_of(kind) for kind, residuals in self.residuals.items() if len(residuals) >= MIN_STRUCTURES
        }
        if "forces" in found and self.numbers:
            factors = self._by_element(found["forces"])
            found["forces"] = replace(self._with(factors).misfit_of("forces"), by_element=factors)
        if "energy" in found:
            forces = found.get("forces", Misfit(0.0))
            error = float(np.sqrt(np.mean(np.concatenate(self.residuals["energy"]) ** 2)))
            found["energy"] = replace(_with_forces(found["energy"], forces, error), reach=self.reach)
        return found

    def _by_element(self, misfit: Misfit) -> dict[int, float]:
        """Factors on the stds of forces on atoms of each element, beside those of all.

        The mean absolute error in units of the std, averaged over the structures that hold the element and, as if that
        were one more of them, a wide one: few structures tell little, and what they do not tell is left wide.
        """
        elements = np.unique(np.concatenate(self.numbers)).tolist()
        if len(elements) == 1:
            return dict.fromkeys(elements, 1.0)
        found: dict[int, list[float]] = {z: [] for z in elements}
        everything: list[float] = []
        parts = (self.residuals, self.own, self.pooled, self.unrepresented)
        whole = self.whole.get("forces") or [np.ones(len(z), dtype=bool) for z in self.numbers]
        for e, v, p, k, z, known in zip(*(part["forces"] for part in parts), self.numbers, whole, strict=True):
            # Components that vanish by symmetry say nothing of others.
            telling = tells(v[known], p[known]) if known.any() else known[known]
            if not telling.any():
                continue
            variances = LabelVariances(*(torch.from_numpy(x[known]) for x in (v, p, k)))
            added, _ = misfit_variance(misfit, variances, KINDS["forces"].together)
            ratio = np.abs(e[known]) / (variances.parameter + variances.unrepresented + added).sqrt().numpy()
            ratio, own = ratio[telling], z[known][telling]
            everything.append(float(ratio.mean()))
            for element in np.unique(own).tolist():
                found[element].append(float(ratio[own == element].mean()))
        usual = float(np.mean(everything)) if everything else 0.0
        if usual <= 0:
            return {}
        return {z: float(np.mean([UNTOLD, *(m / usual for m in of)])) for z, of in found.items()}

    def _with(self, factors: Mapping[int, float]) -> LeaveOneOut:
        """With variances of force components as factors on the stds of elements make them."""
        squares = [np.array([factors.get(int(n), 1.0) ** 2 for n in z]) for z in self.numbers]

        def scaled(values: Mapping[str, list[np.ndarray]]) -> dict[str, list[np.ndarray]]:
            return {**values, "forces": [f * v for f, v in zip(squares, values["forces"], strict=True)]}

        parts = (scaled(x) for x in (self.own, self.pooled, self.unrepresented))
        own, around, unrepresented = parts
        return replace(self, own=own, pooled=around, unrepresented=unrepresented)

    def misfit_of(self, kind: str) -> Misfit:
        """Misfit of one kind, by components that are known with all a rotation mixes them with where there are such."""
        residuals, own, pooled, unrepresented = (
            getattr(self, name)[kind] for name in ("residuals", "own", "pooled", "unrepresented")
        )
        floor, together = KINDS[kind].floor, KINDS[kind].together
        whole = self.whole.get(kind)
        if whole is None or all(mask.all() for mask in whole):
            return fit_misfit(residuals, own, pooled, unrepresented, floor, together)
        some = [k for k, mask in enumerate(whole) if mask.any()]
        if len(some) < min(MIN_STRUCTURES, len(whole)):
            return fit_misfit(residuals, own, pooled, unrepresented, floor, 1)

        def chosen(values: Sequence[np.ndarray]) -> list[np.ndarray]:
            return [values[k][whole[k]] for k in some]

        return fit_misfit(chosen(residuals), chosen(own), chosen(pooled), chosen(unrepresented), floor, together)


def with_all_mixed(kind: str, components: np.ndarray) -> np.ndarray:
    """Which of some components (n,) of a label stand with all that a rotation mixes them with."""
    groups = components // KINDS[kind].together
    _, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    whole: np.ndarray = counts[place] == KINDS[kind].together
    return whole


def _with_forces(energy: Misfit, forces: Misfit, error: float) -> Misfit:
    """Misfit of energies, its factor drawn half way (in its logarithm) to that of forces where that is larger.

    Energies are few, and their noise was chosen to make these very errors small. Where the rms error is below what
    labels resolve, they tell no factor.
    """
    if error <= KINDS["energy"].floor:
        return replace(energy, factor=forces.factor)
    return replace(energy, factor=float(np.sqrt(energy.factor * max(energy.factor, forces.factor))))


def reach_of(energies: Sequence[tuple[float, float | None]]) -> float:
    """Length that makes the mean variances of forces and of energies per atom equal; 0 where there are no forces."""
    both = np.array([(v, f) for v, f in energies if f is not None]).reshape(-1, 2)
    of_energies, of_forces = (mean_but_odd(np.sqrt(x), square=True) for x in both.T)
    reach = float(np.sqrt(of_energies / of_forces)) if of_forces > 0 else 0.0
    # Of forces that vanish by symmetry in all structures rounding is what is left.
    return reach if reach < _FARTHEST else 0.0


def mean_but_odd(errors: np.ndarray, square: bool = False) -> float:
    """Mean of errors (n,), or of their squares, cut at ten times the median of those that are not zero."""
    telling = errors[errors > 0]
    if not len(telling):
        return 0.0
    cut = np.minimum(errors, _ODD * float(np.median(telling)))
    return float(np.mean(cut**2 if square else cut))


def log_score(errors: Mapping[str, float]) -> float:
    """Sum over label kinds of the log of the mean absolute error: a per cent of one weighs as much as of another."""
    return float(sum(np.log(max(e, 1e-12)) for e in errors.values()))

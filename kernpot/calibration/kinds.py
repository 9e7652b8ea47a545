"""Kinds of labels that contradict one another, found by what a linear model says of each from all others.

Each kind is predicted from the others, with noise so small that every one of these counts. Where labels and predictions
lie on a straight line that is not the identity, its slope is the factor by which the kind is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernpot.regression.factor import LabelFactor
from kernpot.regression.posterior import Posterior
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.likeness import likeness
from kernpot.structures.noise import kind_of
from kernpot.structures.plausibility import LabelFinding, line
from kernpot.structures.slips import mistake, right

SHARP = 0.01
"""Noise of the kinds that another is predicted from, over the spread of their labels."""

# A line tells a factor when labels and predictions correlate so well, and are those of so many structures.
_CORRELATED, _FEWEST = 0.9, 6
# One that is off by more than this, or has the other sign, need not be seen so clearly.
_FAR_OFF, _SEEN = 5.0, 0.75
# Energies that differ by less, eV/atom, are one.
_EQUAL = 1e-7
# So many structures, hardly any of them alike, tell the energies of elements.
_MANY = 30
# A fit to all labels misses so large a part of one kind, and so much less of it, and no more than that, when the factor
# is corrected.
_BROKEN, _MENDED, _WHOLE = 0.3, 0.5, 0.6

FloatArray = NDArray[np.float64]

_PLURAL = {"energy": "energies"}


def _weights(posterior: Posterior) -> Tensor:
    return posterior.whitened_weights * posterior.scale


def _missed(factors: Mapping[str, LabelFactor], energies: EnergyRows, weights: Tensor) -> float:
    """Root of the largest part of the squares of any kind that is missed; of energies beside what is unknown."""
    parts = {}
    for kind in dict.fromkeys(kind_of(group) for group in factors):
        if kind == "energy" and not energies.tell:
            continue
        if kind == "energy":
            labels, predicted = energies.centred(weights)
            missed, total = float(np.sum((labels - predicted) ** 2)), float(np.sum(labels**2))
        else:
            own = [factor for group, factor in factors.items() if kind_of(group) == kind]
            missed = sum(factor.missed(weights) for factor in own)
            total = sum(factor.missed(torch.zeros_like(weights)) for factor in own)
        parts[kind] = missed / total if total > 0 else 0.0
    return float(np.sqrt(max(parts.values(), default=0.0)))


def _wrong(factor: float, correlation: float) -> bool:
    far_off = factor < 0 or not 1 / _FAR_OFF < factor < _FAR_OFF
    return not right(factor) and abs(correlation) > (_SEEN if far_off else _CORRELATED)


@dataclass(frozen=True)
class EnergyRows:
    """Energies per atom of some structures.

    Attributes
    ----------
    indices : tuple of int
        Which structures.
    rows : Tensor of shape (n, M)
        Whitened, unit amplitude.
    targets : ndarray of shape (n,)
        Less the isolated atoms, eV.
    unknown : ndarray of shape (n, k)
        Columns of what other kinds of labels do not know: an energy for structures that are alike, of one formula and
        periodicity; or for each element, where hardly any are alike.
    """

    indices: tuple[int, ...]
    rows: Tensor
    targets: FloatArray
    unknown: FloatArray

    @classmethod
    def of(
        cls, labelled: Sequence[LabelledStructure], indices: Sequence[int], rows: Tensor, targets: FloatArray
    ) -> Self:
        """Of some of these structures."""
        structures = [labelled[k] for k in indices]
        names = [likeness(s.atoms) for s in structures]
        kinds = sorted(set(names))
        unknown = np.array([[float(name == kind) for kind in kinds] for name in names]).reshape(len(names), len(kinds))
        if len(names) - len(kinds) < _FEWEST and len(names) >= _MANY:
            elements = sorted({int(z) for s in structures for z in s.atoms.numbers})
            unknown = np.array([[float(np.mean(s.atoms.numbers == z)) for z in elements] for s in structures])
        return cls(tuple(indices), rows, targets, unknown)

    def multiplied(self, by: float) -> EnergyRows:
        """The same rows with energies multiplied by a number."""
        return replace(self, targets=by * self.targets)

    @property
    def tell(self) -> bool:
        """Whether there are more of them than are unknown, and they differ."""
        enough = len(self.targets) >= _FEWEST + self.unknown.shape[1]
        return enough and float(np.std(self._left(self.targets))) > _EQUAL

    def _left(self, values: FloatArray) -> FloatArray:
        left: FloatArray = values - self.unknown @ np.linalg.lstsq(self.unknown, values, rcond=1e-6)[0]
        return left

    def centred(self, weights: Tensor) -> tuple[FloatArray, FloatArray]:
        """Labels and predictions less what other kinds of labels do not know."""
        return self._left(self.targets), self._left((self.rows @ weights).numpy())


def between_kinds(
    labelled: Sequence[LabelledStructure],
    energies: EnergyRows,
    factors: Mapping[str, LabelFactor],
    block: Tensor,
    amplitudes: Tensor,
    sharp: Mapping[str, float],
) -> list[LabelFinding]:
    """What is wrong with one kind of label as a whole, by all others.

    Parameters
    ----------
    labelled : sequence of LabelledStructure
    energies : EnergyRows
        Of those with an energy that are no isolated atoms.
    factors, block, amplitudes
        See :class:`kernpot.regression.posterior.Posterior`.
    sharp : mapping of str to float
        Noise by group, `SHARP` times the spread of its labels.
    """
    lines: dict[str, tuple[float, float]] = {}
    kinds = list(dict.fromkeys(kind_of(group) for group in factors))
    for kind in kinds:
        others = {group: factor for group, factor in factors.items() if kind_of(group) != kind}
        if not others or sum(kind in s.kinds for s in labelled) < _FEWEST:
            continue
        if kind == "energy" and not energies.tell:
            continue
        weights = _weights(Posterior(others, block, sharp, amplitudes))
        if kind == "energy":
            lines[kind] = line(*energies.centred(weights))
        else:
            own = [factor for group, factor in factors.items() if kind_of(group) == kind]
            predicted = torch.cat([factor.triangle @ weights for factor in own]).numpy()
            projected = torch.cat([factor.projected for factor in own]).numpy()
            lines[kind] = line(projected, predicted, sum(float(factor.residual) for factor in own))
    wrong = {k: found for k, found in lines.items() if _wrong(*found)}
    if not wrong:
        return []
    kind = max(wrong, key=lambda k: abs(wrong[k][1]))
    factor, correlation = wrong[kind]

    def missed(by: float) -> float:
        """Part of the worst kind of label that a fit to all misses, this kind multiplied."""
        own = {group for group in factors if kind_of(group) == kind}
        mended = {g: f.multiplied(by) if g in own else f for g, f in factors.items()}
        noise = {g: sharp[g] * (abs(by) if g in own else 1.0) for g in factors}
        posterior = Posterior(mended, block, noise, amplitudes)
        return _missed(mended, energies.multiplied(by if kind == "energy" else 1.0), _weights(posterior))

    # A poor model tells a line, too; but what a fit to all misses is then not for a factor to mend.
    before = missed(1.0)
    if before < _BROKEN or missed(1 / factor) > min(_MENDED * before, _WHOLE):
        return []
    rest = " and ".join(_PLURAL.get(k, k) for k in kinds if k != kind)
    cause = mistake(kind, factor)
    return [
        LabelFinding(
            "refused",
            f"the {_PLURAL.get(kind, kind)} of {sum(kind in s.kinds for s in labelled)} structures (from "
            f"{next(s.source for s in labelled if kind in s.kinds)} on) contradict their {rest}: they are {factor:.3g} "
            f"times what these say (correlation {correlation:.2f})"
            + (f"; {cause}." if cause else "; check the units and signs of all of them."),
        )
    ]

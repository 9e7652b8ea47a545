"""Kinds of labels that contradict one another, found by what a linear model says of each from all others.

Each kind is predicted from the others, with noise so small that every one of these counts. Where labels and predictions
lie on a straight line that is not the identity, its slope is the factor by which the kind is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernpot.regression.factor import LabelFactor
from kernpot.regression.posterior import Posterior
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import kind_of
from kernpot.structures.plausibility import LabelFinding, line
from kernpot.structures.slips import mistake, right

SHARP = 0.01
"""Noise of the kinds that another is predicted from, over the spread of their labels."""

# A line tells a factor when labels and predictions correlate so well, and are those of so many structures.
_CORRELATED, _FEWEST = 0.9, 6
# One that is off by more than this, or has the other sign, need not be seen so clearly.
_FAR_OFF, _SEEN = 5.0, 0.75
# A fit to all labels misses so large a part of one kind, and so much less of it, and no more than that, when the factor
# is corrected.
_BROKEN, _MENDED, _WHOLE = 0.3, 0.5, 0.6

FloatArray = NDArray[np.float64]

_PLURAL = {"energy": "energies"}


def _weights(posterior: Posterior) -> Tensor:
    return posterior.whitened_weights * posterior.scale


def _missed(factors: Mapping[str, LabelFactor], energies: EnergyRows, weights: Tensor) -> float:
    """Root of the largest part of the squares of any kind that is missed; of energies beside compositions."""
    parts = {}
    for kind in dict.fromkeys(kind_of(group) for group in factors):
        if kind == "energy":
            labels, predicted = energies.centred(weights)
            missed, total = float(np.sum((labels - predicted) ** 2)), float(np.sum(labels**2))
        else:
            own = [factor for group, factor in factors.items() if kind_of(group) == kind]
            missed = sum(factor.misfit(weights) for factor in own)
            total = sum(factor.misfit(torch.zeros_like(weights)) for factor in own)
        parts[kind] = missed / total if total > 0 else 0.0
    return float(np.sqrt(max(parts.values())))


def _wrong(factor: float, correlation: float) -> bool:
    far_off = factor < 0 or not 1 / _FAR_OFF < factor < _FAR_OFF
    return not right(factor) and abs(correlation) > (_SEEN if far_off else _CORRELATED)


@dataclass(frozen=True)
class EnergyRows:
    """Energies per atom of some structures.

    Attributes
    ----------
    rows : Tensor of shape (n, M)
        Whitened, unit amplitude.
    targets : ndarray of shape (n,)
        Less the isolated atoms, eV.
    fractions : ndarray of shape (n, n_elements)
        Compositions.
    """

    rows: Tensor
    targets: FloatArray
    fractions: FloatArray

    @classmethod
    def of(cls, structures: Sequence[LabelledStructure], rows: Tensor, targets: FloatArray) -> Self:
        """Of these structures."""
        elements = sorted({int(z) for s in structures for z in s.atoms.numbers})
        fractions = [[float(np.mean(s.atoms.numbers == z)) for z in elements] for s in structures]
        return cls(rows, targets, np.array(fractions))

    def multiplied(self, by: float) -> EnergyRows:
        """The same rows with energies multiplied by a number."""
        return EnergyRows(self.rows, by * self.targets, self.fractions)

    def centred(self, weights: Tensor) -> tuple[FloatArray, FloatArray]:
        """Labels and predictions less what compositions explain, which other kinds of labels do not know."""
        both = np.stack([self.targets, (self.rows @ weights).numpy()], axis=1)
        left = both - self.fractions @ np.linalg.lstsq(self.fractions, both, rcond=1e-6)[0]
        return left[:, 0], left[:, 1]


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
        weights = _weights(Posterior(others, block, sharp, amplitudes))
        if kind == "energy" and len(energies.targets) < _FEWEST + energies.fractions.shape[1]:
            continue  # a line through the few that compositions leave
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

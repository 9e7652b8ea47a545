"""Forces and stress of single structures, held against what a fit to all says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import norm
from torch import Tensor

from kernpot.gp.rows.sketch import Sketches
from kernpot.structures.kinds import KINDS
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.likeness import likeness, listed
from kernpot.structures.plausibility import LabelFinding
from kernpot.structures.slips import TOLERANCE, mistake

# Fewer structures than twice this tell nothing of what is usual among them; so many others make one of them usual.
FEWEST = 4
# No chance makes labels differ from the fit by so many robust spreads and such a factor.
_FAR, _AGREES = 12.0, (0.5, 2.0)
# Structures like no others: by such a factor.
_ODD = 8.0
# A fit that misses the middle one of its labels by such a part has been drawn away by a few that are far too large.
_MISSED = 0.3
# One that misses the middle one by less says more than a poor model: what else it misses may be wrong.
_WELL = 0.1


class Agreement:
    """Labels of one kind of all structures, each held against what the fit says of it.

    With the prediction ``p`` of a label ``y``, ``y . p / |y|^2`` is one over the factor between them, and what is
    missing to one, times ``|y|``, an error along the label, of the size of that of a single component.

    Parameters
    ----------
    kind : str
    labelled : sequence of LabelledStructure
    sketches : mapping of int to Sketches
        Of structures, by index.
    weights : Tensor of shape (M,)
        Of the fit, for unit-amplitude rows.
    """

    def __init__(
        self, kind: str, labelled: Sequence[LabelledStructure], sketches: Mapping[int, Sketches], weights: Tensor
    ) -> None:
        self._kind, self._labelled = kind, labelled
        of_kind = {k: s.components[kind] for k, s in sketches.items() if kind in s.components}
        # Labels that are zero by symmetry are so by rounding too, in every unit, and agree with any fit.
        own = {k: s for k, s in of_kind.items() if s.square > s.n * KINDS[kind].floor ** 2}
        self._agreements = {k: s.agreement(weights) for k, s in own.items()}
        missed = [abs(1 - a) for a in self._agreements.values()]
        self._missed = float(np.median(missed)) if missed else np.inf
        errors = {k: abs(1 - a) * np.sqrt(own[k].square) for k, a in self._agreements.items()}
        spread = float(np.median(list(errors.values())) / norm.ppf(0.75)) if errors else 0.0
        self._far = {k: float(error / spread) if spread > 0 else 0.0 for k, error in errors.items()}

    @property
    def drawn_away(self) -> bool:
        """Whether the fit misses most of these labels."""
        return bool(self._agreements) and self._missed > _MISSED

    @property
    def known_well(self) -> bool:
        """Whether the fit says these labels well enough to judge others by it."""
        return self._missed < _WELL

    def far(self, index: int) -> float:
        """Error of a structure in spreads of all; 0 where it has no such label."""
        return self._far.get(index, 0.0)

    def findings(self) -> list[LabelFinding]:
        """Structures whose labels are a multiple of what the fit says."""
        n = len(self._agreements)
        factors = {k: 1 / a for k, a in sorted(self._agreements.items()) if a != 0 and self._far[k] > _FAR}
        wrong = {k: f for k, f in factors.items() if not _AGREES[0] < f < _AGREES[1]}
        if n < 2 * FEWEST or not wrong or len(wrong) > n / 2:
            return []
        like = {k: (likeness(s.atoms), s.config_type) for k in self._agreements for s in [self._labelled[k]]}
        counts = Counter(like.values())
        usual = {k for k in wrong if counts[like[k]] > FEWEST}
        # One like no other may be what the fit does not know.
        causes = {
            k: cause
            for k, f in wrong.items()
            if (k in usual or _far_off(f)) and (cause := mistake(self._kind, f)) is not None
        }
        found = []
        for cause in sorted(set(causes.values())):
            of_cause = [k for k in causes if causes[k] == cause]
            found.append(LabelFinding("refused", f"{self._told(of_cause, wrong, n)}; {cause}."))
        others = [k for k in wrong if k not in causes and k in usual]
        if others:
            found.append(LabelFinding("warned", f"{self._told(others, wrong, n)}; check these calculations."))
        return found

    def _told(self, indices: list[int], factors: Mapping[int, float], n: int) -> str:
        middle = float(np.median([factors[k] for k in indices]))
        return (
            f"{self._kind} of {len(indices)} of {n} structures ({listed([self._labelled[k].source for k in indices])}) "
            f"do not go with those of the others: they are {middle:.3g} times what a fit to all says"
        )


def _far_off(factor: float) -> bool:
    """Whether no poor model makes such a factor: the other sign, or by far too large or small."""
    return abs(factor + 1) < TOLERANCE or not 1 / _ODD < abs(factor) < _ODD

"""Labels of single structures that contradict those of all others, found by what a fit says of each.

Forces and stress of a structure are held against the fit: as a whole they are a multiple of what it says. Energies are
held against the fit without them, which has a closed form: with the row ``b`` of an energy and the root ``R`` of the
posterior precision, an energy counts with ``h = |R^-T b|^2 / sigma^2`` in its own prediction, and misses the fit
without it by ``(y - b . w) / (1 - h)``. Whole kinds of labels come first (:mod:`kernpot.calibration.kinds`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernpot.calibration.kinds import SHARP, EnergyRows, between_kinds
from kernpot.gp.fitted import FittedGP
from kernpot.gp.learning.start import START, starting_noise
from kernpot.gp.rows.sketch import Sketches
from kernpot.regression.posterior import Posterior
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import kind_of
from kernpot.structures.plausibility import LabelFinding
from kernpot.structures.reference import is_isolated_atom
from kernpot.structures.slips import TOLERANCE, mistake

# Fewer structures than twice this tell nothing of what is usual among them.
_FEWEST = 4
# Labels of single structures: no chance makes them differ from the fit by so many robust spreads and such a factor.
_FAR, _AGREES = 12.0, (0.5, 2.0)
# Structures like no others: by such a factor.
_ODD = 8.0
# A fit that misses the middle one of its labels by such a part has been drawn away by a few that are far too large.
_MISSED = 0.3
# One that misses the middle one by less says more than a poor model: energies that it misses may be wrong.
_WELL = 0.1
# Energies: so many robust spreads, and eV/atom, off, where forces are no further off than so many of theirs.
_SPREADS, _LEAST, _NEAR = 15.0, 1e-2, 5.0
# Dimers are a curve, whose ends a fit may miss.
_FEWEST_ATOMS = 3
# Labels that errors on structures left out, of so many, say to be explained no better than by nothing.
_UNEXPLAINED, _FEWEST_LEFT_OUT = 0.8, 20
# Two levels of theory: groups that differ by so many of their spreads, and eV/atom, and are so large a part.
_APART, _OFFSET, _PART, _FEWEST_OF_GROUP = 10.0, 0.02, 0.1, 3
_NAMED = 5

FloatArray = NDArray[np.float64]


def contradictions(fitted: FittedGP, sketches: Mapping[int, Sketches]) -> list[LabelFinding]:
    """What is wrong with the labels of a fit: one kind as a whole, or else those of single structures.

    Parameters
    ----------
    fitted : FittedGP
    sketches : mapping of int to Sketches
        Of its training structures, by index.
    """
    labelled = list(fitted.training or ())
    energies, sharp = _energies(labelled, sketches).rows, _sharp(fitted, labelled)
    found = between_kinds(labelled, energies, fitted.factors, fitted.whitening.block, fitted.amplitudes, sharp)
    return found or of_structures(fitted, sketches) or _unexplained(fitted, labelled)


def _unexplained(fitted: FittedGP, labelled: Sequence[LabelledStructure]) -> list[LabelFinding]:
    """Forces and stress of which the fit explains hardly anything, by errors on structures left out."""
    left_out = fitted.summary["hyperparameters"].get("leave_one_out", {"structures": 0})
    if left_out["structures"] < _FEWEST_LEFT_OUT:
        return []
    found = []
    for kind in ("forces", "stress"):
        values = [np.ravel(s.label(kind))[s.known(kind)] for s in labelled if s.label(kind) is not None]
        typical = float(np.mean(np.abs(np.concatenate(values)))) if len(values) >= _FEWEST_LEFT_OUT else 0.0
        missed = left_out["mae"].get(kind, 0.0)
        if missed > _UNEXPLAINED * typical > 0:
            share = missed / typical
            found.append(
                LabelFinding(
                    "warned",
                    f"the labels of {kind} are hardly explained: errors on structures left out are {share:.2g} times "
                    f"the mean size of these labels (from {labelled[0].source} on). Are they in the order of the "
                    "atoms, with x, y, z as positions have them, and of these structures? Else the descriptor or the "
                    "number of structures does not suffice.",
                )
            )
    return found


def of_structures(fitted: FittedGP, sketches: Mapping[int, Sketches]) -> list[LabelFinding]:
    """What is wrong with labels of single structures, by those of all others.

    Parameters
    ----------
    fitted : FittedGP
    sketches : mapping of int to Sketches
        Of its training structures, by index.
    """
    labelled, model = list(fitted.training or ()), fitted.noise_model
    agreements = {kind: _agreements(kind, fitted, labelled, sketches) for kind in ("forces", "stress")}
    found = [finding for kind in agreements.values() for finding in kind.findings()]
    energies = _energies(labelled, sketches)
    if len(energies) >= 2 * _FEWEST:
        levels = np.array([fitted.noise[model.group(labelled[k], "energy")] for k in energies.indices])
        found += energies.findings(labelled, fitted.posterior, levels, agreements["forces"])
    return found


def _agreements(
    kind: str, fitted: FittedGP, labelled: Sequence[LabelledStructure], sketches: Mapping[int, Sketches]
) -> _Agreements:
    """By the fit, or by its other kinds of labels where this one has drawn it away."""
    found = _Agreements(kind, labelled, sketches, _weights(fitted.posterior))
    others = {group: factor for group, factor in fitted.factors.items() if kind_of(group) != kind}
    if not found.drawn_away or not others:
        return found
    without = Posterior(others, fitted.whitening.block, _sharp(fitted, labelled), fitted.amplitudes)
    return _Agreements(kind, labelled, sketches, _weights(without))


def _sharp(fitted: FittedGP, labelled: Sequence[LabelledStructure]) -> dict[str, float]:
    """Noise so small that every kind of label counts."""
    start = starting_noise(labelled, fitted.noise_model, fitted.isolated)
    return {group: SHARP / START * level for group, level in start.items()}


def _weights(posterior: Posterior) -> Tensor:
    return posterior.whitened_weights * posterior.scale


class _Agreements:
    """Labels of one kind of all structures, each held against what the fit says of it.

    With the prediction ``p`` of a label ``y``, ``y . p / |y|^2`` is one over the factor between them, and what is
    missing to one, times ``|y|``, an error along the label, of the size of that of a single component.
    """

    def __init__(
        self, kind: str, labelled: Sequence[LabelledStructure], sketches: Mapping[int, Sketches], weights: Tensor
    ) -> None:
        self._kind, self._labelled = kind, labelled
        own = {k: s.components[kind] for k, s in sketches.items() if kind in s.components}
        self._agreements = {k: s.agreement(weights) for k, s in own.items() if s.square > 0}
        missed = [abs(1 - a) for a in self._agreements.values()]
        self._missed = float(np.median(missed)) if missed else np.inf
        errors = {k: abs(1 - a) * np.sqrt(own[k].square) for k, a in self._agreements.items()}
        spread = 1.4826 * float(np.median(list(errors.values()))) if errors else 0.0
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
        if n < 2 * _FEWEST or not wrong or len(wrong) > n / 2:
            return []
        likeness = dict(zip(self._agreements, _alike(self._labelled, list(self._agreements)), strict=True))
        like = Counter(likeness.values())
        # One like no other may be what the fit does not know.
        wrong = {k: f for k, f in wrong.items() if like[likeness[k]] > _FEWEST or _far_off(f)}
        causes = {k: cause for k, f in wrong.items() if (cause := mistake(self._kind, f))}
        found = []
        for cause in sorted(set(causes.values())):
            of_cause = [k for k in causes if causes[k] == cause]
            found.append(LabelFinding("refused", f"{self._told(of_cause, wrong, n)}; {cause}."))
        others = [k for k in wrong if k not in causes and like[likeness[k]] > _FEWEST]
        if others:
            found.append(LabelFinding("warned", f"{self._told(others, wrong, n)}; check these calculations."))
        return found

    def _told(self, indices: list[int], factors: Mapping[int, float], n: int) -> str:
        middle = float(np.median([factors[k] for k in indices]))
        return (
            f"{self._kind} of {len(indices)} of {n} structures ({_names(self._labelled, indices)}) do not go with "
            f"those of the others: they are {middle:.3g} times what a fit to all says"
        )


class _Energies:
    """Energies per atom of some structures, as rows and labels."""

    def __init__(self, indices: list[int], rows: EnergyRows) -> None:
        self.indices, self.rows = indices, rows

    def __len__(self) -> int:
        return len(self.indices)

    def findings(
        self, labelled: Sequence[LabelledStructure], posterior: Posterior, levels: FloatArray, forces: _Agreements
    ) -> list[LabelFinding]:
        """Energies that the fit without them misses although it knows their forces, and groups that lie apart."""
        rows = self.rows.rows * posterior.scale
        miss = self.rows.targets - posterior.mean(rows).numpy()
        counts = np.clip(posterior.variance(rows).numpy() / levels**2, 0.0, 1 - 1e-9)
        errors = miss / (1 - counts)
        if not forces.known_well:
            return []
        apart = self._apart(labelled, errors)
        if apart:
            return apart
        errors = errors - np.median(errors)
        # Of a few that are like no others the fit knows little: nothing is unusual there.
        likeness = np.array(_alike(labelled, self.indices))
        spreads = np.full(len(errors), np.inf)
        for like in set(likeness.tolist()):
            here = likeness == like
            if here.sum() >= 2 * _FEWEST:
                spreads[here] = max(_spread(errors[here]), _spread(errors))
        known = np.array([forces.far(k) < _NEAR for k in self.indices])
        wrong = np.flatnonzero(known & (np.abs(errors) > np.maximum(_SPREADS * spreads, _LEAST)))
        if not len(wrong):
            return []
        worst = wrong[np.argsort(-np.abs(errors[wrong]))]
        more = f" and {len(worst) - _NAMED} more" if len(worst) > _NAMED else ""
        names = ", ".join(f"{labelled[self.indices[k]].source} by {errors[k]:+.3g}" for k in worst[:_NAMED])
        return [
            LabelFinding(
                "warned",
                f"energies of {len(worst)} of {len(self)} structures are off what all other labels say, by more than "
                f"{_SPREADS:g} times the usual {_spread(errors):.2g} eV/atom: {names} eV/atom{more}. Another "
                "electronic state, a calculation that did not converge, or another setting? Look at them, leave them "
                "out, or give them a larger noise_scale.",
            )
        ]

    def _apart(self, labelled: Sequence[LabelledStructure], errors: FloatArray) -> list[LabelFinding]:
        """Two groups of energies with an offset between them: by file, by configuration type, or as they fall."""
        sources = np.array([labelled[k].source.rsplit("#", 1)[0] for k in self.indices])
        types = np.array([labelled[k].config_type for k in self.indices])
        alike = np.array([like for like, _ in (_likeness(labelled[k]) for k in self.indices)])
        # Among what is alike: a crystal and a surface may differ by what the fit does not know.
        for own in sorted(set(alike.tolist())):
            members = np.flatnonzero(alike == own)
            splits = (("file", sources[members]), ("config_type", types[members]), ("", _halves(errors[members])))
            for what, names in splits:
                for name in sorted(set(names.tolist())):
                    finding = self._offset(labelled, errors, members, names == name, f"{what} {name}" if what else "")
                    if finding is not None:
                        return [finding]
        return []

    def _offset(
        self,
        labelled: Sequence[LabelledStructure],
        errors: FloatArray,
        members: NDArray[np.int64],
        here: NDArray[np.bool_],
        name: str,
    ) -> LabelFinding | None:
        """What there is to tell of a part of some structures."""
        fewest = max(_FEWEST_OF_GROUP, _PART * len(here))
        if min(here.sum(), (~here).sum()) < fewest or here.sum() > len(here) / 2:
            return None
        own, others = errors[members[here]], errors[members[~here]]
        offset, within = float(np.median(own) - np.median(others)), max(_spread(own), _spread(others))
        if abs(offset) <= max(_APART * within, _OFFSET):
            return None
        which = name or _names(labelled, [self.indices[k] for k in members[here]])
        return LabelFinding(
            "warned",
            f"energies of {len(own)} of {len(here)} structures ({which}) lie {offset:+.3g} eV/atom from those of the "
            f"others, which differ by {within:.2g} among themselves: another code, functional or setting? Labels of "
            "one fit must come from one.",
        )


def _energies(labelled: Sequence[LabelledStructure], sketches: Mapping[int, Sketches]) -> _Energies:
    found = [
        (k, s.energy)
        for k, s in sorted(sketches.items())
        if s.energy and (len(labelled[k].atoms) >= _FEWEST_ATOMS or labelled[k].atoms.pbc.any())
    ]
    found = [(k, energy) for k, energy in found if not is_isolated_atom(labelled[k])]
    rows = torch.stack([e.row for _, e in found]) if found else torch.empty((0, 0), dtype=torch.float64)
    targets = np.array([e.target for _, e in found])
    return _Energies([k for k, _ in found], EnergyRows.of([labelled[k] for k, _ in found], rows, targets))


def _far_off(factor: float) -> bool:
    """Whether no poor model makes such a factor: the other sign, or by far too large or small."""
    return abs(factor + 1) < TOLERANCE or not 1 / _ODD < abs(factor) < _ODD


def _likeness(structure: LabelledStructure) -> tuple[str, str]:
    """Formula and periodicity, and the configuration type."""
    formula = structure.atoms.symbols.formula.format("hill")
    return f"{formula} {structure.atoms.pbc}", structure.config_type


def _alike(labelled: Sequence[LabelledStructure], indices: Sequence[int]) -> list[str]:
    """Names of what structures are; those of one name are alike."""
    return [" ".join(_likeness(labelled[k])) for k in indices]


def _halves(errors: FloatArray) -> NDArray[np.str_]:
    """Names for those below and above the widest gap."""
    ordered = np.sort(errors)
    inner = slice(_FEWEST_OF_GROUP - 1, len(ordered) - _FEWEST_OF_GROUP)
    gaps = np.diff(ordered)[inner]
    if not len(gaps):
        return np.full(len(errors), "")
    cut = ordered[inner][int(gaps.argmax())] + gaps.max() / 2
    return np.where(errors > cut, "above", "below")


def _spread(values: FloatArray) -> float:
    """Robust standard deviation."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _names(labelled: Sequence[LabelledStructure], indices: Sequence[int]) -> str:
    named = ", ".join(labelled[k].source for k in indices[:_NAMED])
    return named + (f" and {len(indices) - _NAMED} more" if len(indices) > _NAMED else "")

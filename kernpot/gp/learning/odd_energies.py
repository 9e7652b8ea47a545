"""Energies that all other labels contradict: single ones, and groups of them with an offset.

With the row ``b`` of an energy and the root ``R`` of the posterior precision, an energy counts with
``h = |R^-T b|^2 / sigma^2`` in its own prediction, and misses the fit without it by ``(y - b . w) / (1 - h)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import median_abs_deviation

from kernpot.calibration.kinds import EnergyRows
from kernpot.gp.learning.agreement import FEWEST, Agreement
from kernpot.regression.posterior import Posterior
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.likeness import NAMED, likeness, listed
from kernpot.structures.plausibility import LabelFinding

FloatArray = NDArray[np.float64]

# So many robust spreads, and eV/atom, off, where forces are no further off than so many of theirs.
_SPREADS, _LEAST, _NEAR = 15.0, 1e-2, 5.0
# Two levels of theory: groups that differ by so many of their spreads, and eV/atom, and are so large a part.
_APART, _OFFSET, _PART, _FEWEST_OF_GROUP = 10.0, 0.02, 0.1, 3


def odd_energies(
    labelled: Sequence[LabelledStructure],
    rows: EnergyRows,
    posterior: Posterior,
    levels: FloatArray,
    forces: Agreement,
) -> list[LabelFinding]:
    """Energies that the fit without them misses although it knows their forces, and groups that lie apart.

    Parameters
    ----------
    labelled : sequence of LabelledStructure
        Those of the rows.
    rows : EnergyRows
    posterior : Posterior
    levels : ndarray of shape (n,)
        Noise of each energy, eV/atom.
    forces : Agreement
        Of all structures; ``labelled[k]`` is number ``rows.indices[k]`` there.
    """
    if len(labelled) < 2 * FEWEST or not forces.known_well:
        return []
    scaled = rows.rows * posterior.scale
    counts = np.clip(posterior.variance(scaled).numpy() / levels**2, 0.0, 1 - 1e-9)
    errors = (rows.targets - posterior.mean(scaled).numpy()) / (1 - counts)
    apart = _apart(labelled, errors)
    return [apart] if apart is not None else _single(labelled, rows, errors - np.median(errors), forces)


def _single(
    labelled: Sequence[LabelledStructure], rows: EnergyRows, errors: FloatArray, forces: Agreement
) -> list[LabelFinding]:
    # Of a few that are like no others the fit knows little: nothing is unusual there.
    like = np.array([f"{likeness(s.atoms)} {s.config_type}" for s in labelled])
    spread, spreads = _spread(errors), np.full(len(errors), np.inf)
    for name in set(like.tolist()):
        here = like == name
        if here.sum() >= 2 * FEWEST:
            spreads[here] = max(_spread(errors[here]), spread)
    known = np.array([forces.far(k) < _NEAR for k in rows.indices])
    wrong = np.flatnonzero(known & (np.abs(errors) > np.maximum(_SPREADS * spreads, _LEAST)))
    if not len(wrong):
        return []
    worst = wrong[np.argsort(-np.abs(errors[wrong]))]
    names = listed([f"{labelled[k].source} by {errors[k]:+.3g}" for k in worst])
    unit = " eV/atom" if len(worst) <= NAMED else " (eV/atom)"
    return [
        LabelFinding(
            "warned",
            f"energies of {len(worst)} of {len(labelled)} structures are off what all other labels say, by more than "
            f"{_SPREADS:g} times the usual {spread:.2g} eV/atom: {names}{unit}. Another electronic state, a "
            "calculation that did not converge, or another setting? Look at them, leave them out, or give them a "
            "larger noise_scale.",
        )
    ]


@dataclass(frozen=True)
class _Group:
    """Some of structures that are alike, and how to name them."""

    here: NDArray[np.bool_]
    name: str


def _apart(labelled: Sequence[LabelledStructure], errors: FloatArray) -> LabelFinding | None:
    """Two groups of energies with an offset between them: by file, by configuration type, or as they fall."""
    sources = np.array([s.source.rsplit("#", 1)[0] for s in labelled])
    types = np.array([s.config_type for s in labelled])
    alike = np.array([likeness(s.atoms) for s in labelled])
    # Among what is alike: a crystal and a surface may differ by what the fit does not know.
    for own in sorted(set(alike.tolist())):
        members = np.flatnonzero(alike == own)
        groups = [
            _Group(names == name, f"{what} {name}")
            for what, names in (("file", sources[members]), ("config_type", types[members]))
            for name in sorted(set(names.tolist()))
        ]
        for group in (*groups, *_halves(labelled, members, errors)):
            finding = _offset(errors[members], group)
            if finding is not None:
                return finding
    return None


def _halves(labelled: Sequence[LabelledStructure], members: NDArray[np.int64], errors: FloatArray) -> list[_Group]:
    """Those above and those below the widest gap, named one by one."""
    values = errors[members]
    ordered = np.sort(values)
    inner = slice(_FEWEST_OF_GROUP - 1, len(ordered) - _FEWEST_OF_GROUP)
    gaps = np.diff(ordered)[inner]
    if not len(gaps):
        return []
    cut = ordered[inner][int(gaps.argmax())] + gaps.max() / 2
    return [_Group(here, listed([labelled[k].source for k in members[here]])) for here in (values > cut, values <= cut)]


def _offset(errors: FloatArray, group: _Group) -> LabelFinding | None:
    """What there is to tell of a group among others that are alike."""
    here = group.here
    fewest = max(_FEWEST_OF_GROUP, _PART * len(here))
    if min(here.sum(), (~here).sum()) < fewest or here.sum() > len(here) / 2:
        return None
    own, others = errors[here], errors[~here]
    offset, within = float(np.median(own) - np.median(others)), max(_spread(own), _spread(others))
    if abs(offset) <= max(_APART * within, _OFFSET):
        return None
    return LabelFinding(
        "warned",
        f"energies of {len(own)} of {len(here)} structures ({group.name}) lie {offset:+.3g} eV/atom from those of the "
        f"others, which differ by {within:.2g} among themselves: another code, functional or setting? Labels of one "
        "fit must come from one.",
    )


def _spread(values: FloatArray) -> float:
    return float(median_abs_deviation(values, scale="normal"))

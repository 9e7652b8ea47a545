"""Which structures train which member, and which are held out from all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kernpot.structures.identity import identity
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.reference import is_isolated_atom

RESAMPLINGS = (None, "bootstrap", "split")
# With fewer structures than this none can be spared.
FEWEST = 4
# At least that many are held out where they are no more than a quarter: a gate for a tolerance needs as many.
_AT_LEAST = 10
# Part of its structures that a member does not see with ``resample="split"``.
_LEFT = 0.2


def held_out(labelled: Sequence[LabelledStructure], part: float, rng: np.random.RandomState) -> NDArray[np.int64]:
    """Structures that no member trains on: they stop the training and calibrate the error bars.

    Frames of one trajectory (``atoms.info["trajectory"]``, any name) stay together, as neighbours in time are nearly
    copies, and so do exact copies; the others are drawn one by one. Every ``config_type`` gives its share, the largest
    first. Isolated atoms and structures without labels are never held out, and every element stays in training.

    Parameters
    ----------
    labelled : sequence of LabelledStructure
    part : float
        Of the structures.
    rng : numpy.random.RandomState

    Returns
    -------
    ndarray of int64, ascending
        Empty when there are fewer than four structures to choose from.
    """
    units: dict[object, list[int]] = {}
    for k in usable(labelled):
        units.setdefault(unit_of(labelled[k]), []).append(int(k))
    n = sum(map(len, units.values()))
    if n < FEWEST or part == 0:
        return np.empty(0, dtype=np.int64)
    wanted = n_wanted(n, part)
    trained = [labelled[k] for unit in units.values() for k in unit]
    left = {z: sum(z in s.atoms.numbers for s in trained) for z in {int(z) for s in trained for z in s.atoms.numbers}}
    by_type: dict[str, list[list[int]]] = {}
    for unit in units.values():
        # A trajectory of several types counts as the type of its first frame.
        by_type.setdefault(labelled[unit[0]].config_type, []).append(unit)
    chosen: list[int] = []
    ordered = [[of_type[k] for k in rng.permutation(len(of_type))] for of_type in by_type.values()]
    sizes = np.array([sum(map(len, of_type)) for of_type in ordered], dtype=np.float64)
    taken = np.zeros(len(ordered))
    while len(chosen) < wanted and any(ordered):
        # The type that is furthest behind its share.
        behind = np.where([bool(of_type) for of_type in ordered], (taken + 1) / sizes, np.inf)
        which = int(behind.argmin())
        unit = ordered[which].pop()
        numbers = {z: sum(z in labelled[k].atoms.numbers for k in unit) for z in left}
        # A whole trajectory may be more than what can be spared.
        if len(chosen) + len(unit) > max(wanted, n // 2) or any(0 < left[z] <= numbers[z] for z in left):
            continue
        left = {z: left[z] - numbers[z] for z in left}
        chosen += unit
        taken[which] += len(unit)
    return np.sort(np.array(chosen, dtype=np.int64))


def usable(labelled: Sequence[LabelledStructure]) -> NDArray[np.int64]:
    """Structures to train on: those with labels that are no isolated atoms, unless there is nothing else."""
    found = [k for k, s in enumerate(labelled) if s.kinds and not is_isolated_atom(s)]
    found = found or [k for k, s in enumerate(labelled) if s.kinds]
    return np.array(found, dtype=np.int64)


def unit_of(structure: LabelledStructure) -> object:
    """What has to stay together: a named trajectory, and exact copies of one structure."""
    trajectory = structure.atoms.info.get("trajectory")
    return identity(structure.atoms) if trajectory is None else f"trajectory {trajectory}"


def n_wanted(n: int, part: float) -> int:
    """How many of ``n`` structures to hold out: a part, and at least ten where these are no more than a quarter."""
    return 0 if part == 0 else max(round(part * n), min(_AT_LEAST, n // 4))


def member_weights(
    n_structures: int, n_members: int, resample: str | None, rng: np.random.RandomState
) -> NDArray[np.float64]:
    """How often each member sees each training structure, (n_members, n_structures); every row sums to the number.

    ``None``: once, members differ by their starting weights; ``"bootstrap"``: as often as it was drawn with
    replacement (Efron 1979); ``"split"``: four fifths of them, another part for every member.
    """
    weights = np.ones((n_members, n_structures))
    for k in range(n_members):
        if resample == "bootstrap":
            weights[k] = np.bincount(rng.randint(n_structures, size=n_structures), minlength=n_structures)
        elif resample == "split":
            weights[k, rng.permutation(n_structures)[: int(_LEFT * n_structures)]] = 0.0
            weights[k] *= n_structures / weights[k].sum()
    return weights


def more_weights(
    n_structures: int, n_members: int, resample: str | None, rng: np.random.RandomState
) -> NDArray[np.float64]:
    """The same for structures that come later, one by one.

    A bootstrap sample of a growing set holds each structure as often as a Poisson distribution of mean one says (Oza
    and Russell, AISTATS 2001).
    """
    shape = (n_members, n_structures)
    if resample == "bootstrap":
        return rng.poisson(1.0, shape).astype(np.float64)
    if resample == "split":
        return (rng.random_sample(shape) >= _LEFT) / (1 - _LEFT)
    return np.ones(shape)

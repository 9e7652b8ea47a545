"""What potentials learn from and are asked about: the same structures for each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from kernpot.comparison.blocks import composition, group_of
from kernpot.errors import KernpotError, KernpotWarning, StructureError
from kernpot.structures.identity import identity
from kernpot.structures.labels import source_of
from kernpot.structures.reference import is_alone

_FEWEST_SHIFTED = 5
HOTTEST = "highest energies"


@dataclass(frozen=True, eq=False)
class Shift:
    """Structures unlike those that were learnt.

    Attributes
    ----------
    name : str
    train : list of ase.Atoms or None
        What is learnt before the question; None is all that trains.
    familiar : list of ase.Atoms
        Test structures that are like those learnt.
    shifted : list of ase.Atoms
        The others.
    """

    name: str
    train: list[Atoms] | None
    familiar: list[Atoms]
    shifted: list[Atoms]


@dataclass(frozen=True, eq=False)
class Split:
    """What every potential learns from and is asked about.

    Attributes
    ----------
    train, test : list of ase.Atoms
    shifts : list of Shift

    Raises
    ------
    KernpotError
        If there is nothing to ask about, or a structure holds an element that was not learnt.

    Warns
    -----
    KernpotWarning
        When test structures are copies of training structures.
    """

    train: list[Atoms]
    test: list[Atoms]
    shifts: list[Shift] = field(default_factory=list)

    def __post_init__(self) -> None:
        known = elements_of(self.train)
        _require_known(known, self.test, "test")
        for shift in self.shifts:
            for structures, what in ((shift.familiar, "familiar"), (shift.shifted, "shifted")):
                _require_known(known if shift.train is None else elements_of(shift.train), structures, what)
        learnt = {identity(atoms) for atoms in self.train}
        if copies := sum(identity(atoms) in learnt for atoms in self.test):
            warnings.warn(
                f"{copies} of {len(self.test)} test structures are copies of training structures: errors on these say "
                "nothing about new ones; remove them from one of the two",
                KernpotWarning,
                stacklevel=3,
            )


def without_group(train: Sequence[Atoms], test: Sequence[Atoms], group: str) -> Shift:
    """Leave a ``config_type`` out of the training: its structures are what is shifted.

    Raises
    ------
    KernpotError
        If there are no such structures, or nothing else to learn from or to ask about.
    """
    rest = [a for a in train if group_of(a) != group or is_alone(a)]
    familiar = [a for a in test if group_of(a) != group]
    shifted = [a for a in [*train, *test] if group_of(a) == group and not is_alone(a)]
    if not shifted:
        raise KernpotError(
            f"no structure that is no isolated atom has the config_type {group!r}; there are "
            f"{', '.join(sorted({group_of(a) or '(none)' for a in train}))}"
        )
    if not any(not is_alone(a) for a in rest) or not familiar:
        raise KernpotError(f"without {group!r} nothing is left to learn from, or to be asked about; name another group")
    return Shift(group or "(none)", rest, familiar, shifted)


def without_hottest(train: Sequence[Atoms], test: Sequence[Atoms], share: float = 0.25) -> Shift:
    """Leave the structures of highest energy per atom (against others of their composition) out of the training."""
    everything = [a for a in [*train, *test] if not is_alone(a)]
    excess = {id(a): e for a, e in zip(everything, _excess(everything), strict=True)}
    mine = [excess[id(a)] for a in train if not is_alone(a) and np.isfinite(excess[id(a)])]
    if len(mine) < 2 * _FEWEST_SHIFTED:
        raise KernpotError(
            f"{len(mine)} training structures with an energy beside others of their composition are too few to leave "
            "the highest out; give --shifted"
        )
    limit = float(np.quantile(mine, 1.0 - share))
    hot = {key for key, value in excess.items() if value > limit}
    rest = [a for a in train if id(a) not in hot]
    familiar = [a for a in test if id(a) not in hot]
    if not familiar or not elements_of([*train, *test]) <= elements_of(rest):
        raise KernpotError(
            "without the highest energies no test structure, or not every element, is left; give --shifted"
        )
    return Shift(HOTTEST, rest, familiar, [a for a in everything if id(a) in hot])


def default_shift(train: Sequence[Atoms], test: Sequence[Atoms]) -> Shift | None:
    """Leave out the group with the largest forces or, where there is one group, the structures of highest energy.

    Labels choose, no potential does. A group is left out when it is at most half of the data and what is left knows all
    elements. None where neither can be done.
    """
    frames = [a for a in train if not is_alone(a)]
    forces: dict[str, float] = {}
    for group in sorted({group_of(a) for a in frames}):
        members = [a for a in frames if group_of(a) == group]
        rest = [a for a in train if group_of(a) != group or is_alone(a)]
        if elements_of([*train, *test]) <= elements_of(rest) and _FEWEST_SHIFTED <= len(members) <= len(frames) / 2:
            forces[group] = _rms_force(members)
    try:
        if forces:
            return without_group(train, test, max(forces, key=lambda group: forces[group]))
        return without_hottest(train, test)
    except KernpotError:
        return None


def _excess(structures: Sequence[Atoms]) -> NDArray[np.float64]:
    """Energy per atom above the lowest of the same composition; NaN without an energy."""
    energies: dict[str, list[float]] = {}
    own = []
    for atoms in structures:
        results = getattr(atoms.calc, "results", None) or {}
        energy = float(results["energy"]) / len(atoms) if results.get("energy") is not None else np.nan
        own.append(energy)
        energies.setdefault(composition(atoms), []).append(energy)
    lowest = {name: np.nanmin(values) if np.isfinite(values).any() else np.nan for name, values in energies.items()}
    floor = [lowest[composition(atoms)] for atoms in structures]
    return np.asarray(own) - np.asarray(floor)


def _rms_force(structures: Sequence[Atoms]) -> float:
    known = [(getattr(a.calc, "results", None) or {}).get("forces") for a in structures]
    forces = [np.ravel(f) for f in known if f is not None]
    return float(np.sqrt(np.mean(np.concatenate(forces) ** 2))) if forces else 0.0


def elements_of(structures: Sequence[Atoms]) -> set[int]:
    """Atomic numbers present."""
    return {int(z) for atoms in structures for z in atoms.numbers}


def _require_known(known: set[int], structures: Sequence[Atoms], what: str) -> None:
    """Before any fit, name the structure that no potential could answer for."""
    if not structures:
        raise KernpotError(f"there are no {what} structures to ask about")
    for index, atoms in enumerate(structures):
        foreign = sorted({int(z) for z in atoms.numbers} - known)
        if foreign:
            raise StructureError(
                f"{source_of(atoms, index)} of the {what} structures holds {chemical_symbols[foreign[0]]}, which no "
                "training structure does; train with it, or leave the structure out"
            )

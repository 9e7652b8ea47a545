"""Quantities derived from labels, whose true values the test structures hold: do intervals of these hold, too.

Energies are compared between structures of one composition, each structure in one pair, so that errors of pairs are as
independent as those of structures. Pressure is linear in the potential; the largest force of a structure is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from kernpot.comparison.blocks import composition, group_of
from kernpot.comparison.scoring import Record
from kernpot.prediction import MeanPrediction
from kernpot.structures.labels import LabelledStructure, label_structures
from kernpot.structures.reference import is_alone
from kernpot.uncertainty.propagation import FixedGeometries, propagate

WITHIN = "energy differences within a group"
BETWEEN = "energy differences between groups"
STRAIN = "strain energies"
PRESSURE = "pressures"
LARGEST = "largest forces"
UNITS = {WITHIN: "meV/atom", BETWEEN: "meV/atom", STRAIN: "meV/atom", PRESSURE: "GPa", LARGEST: "eV/Å"}
MOST_STRUCTURES = 60
N_DRAWS = 32
_VANISHING = 1e-3  # eV/Angstrom
# Energies per atom (eV) closer than quantum codes converge are no difference.
_RESOLVED = 1e-5


@dataclass(frozen=True)
class Target:
    """One quantity of one structure, or of two."""

    kind: str
    structures: tuple[int, ...]

    def value(self, answers: Sequence[MeanPrediction]) -> float:
        """Its value, in its unit of `UNITS`, from the answers for all structures."""
        own = [answers[k] for k in self.structures]
        if self.kind == PRESSURE:
            stress = own[0].stress
            assert stress is not None
            return float(-stress[:3].mean() / units.GPa)
        if self.kind == LARGEST:
            return float(np.linalg.norm(own[0].forces, axis=1).max())
        first, second = (answer.energy / len(answer.forces) for answer in own)
        return 1e3 * (second - first)


class Targets(FixedGeometries):
    """All quantities that the labels of some structures allow.

    Parameters
    ----------
    structures : sequence of ase.Atoms
        With labels.
    seed : int
        Of the choice of pairs.

    Attributes
    ----------
    targets : list of Target
    truth : ndarray of shape (n,)
        Their values by the labels.
    """

    needs = ("forces", "stress")

    def __init__(self, structures: Sequence[Atoms], seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        usable = [a for a in structures if not is_alone(a)]
        chosen = np.sort(rng.permutation(len(usable))[:MOST_STRUCTURES])
        labelled = label_structures([usable[k] for k in chosen]) if usable else []
        self.structures = [item.atoms for item in labelled]
        self.targets = [*_pairs(labelled, rng), *_single(labelled)]
        answers = [_labels(item) for item in labelled]
        self.truth = self.combine(answers)
        self.unit = ""

    def combine(self, answers: Sequence[MeanPrediction]) -> NDArray[np.float64]:
        """Values of all quantities."""
        return np.array([target.value(answers) for target in self.targets])


def derived_values(potential: Any, structures: Sequence[Atoms], seed: int = 0, n_draws: int = N_DRAWS) -> list[Record]:
    """Predicted distributions of derived quantities beside their values by the labels.

    Returns
    -------
    list of dict
        ``kind``, ``structure`` (of a pair the first), ``unit``, ``truth``, ``mean``, ``std``, and whether the central
        intervals hold the truth: ``inside_50`` and ``inside_90``.
    """
    targets = Targets(structures, seed)
    if not targets.targets:
        return []
    found = propagate(targets, potential, n_draws, random_state=seed)
    inside = {}
    for level in (0.5, 0.9):
        low, high = found.interval(level)
        inside[f"inside_{100 * level:.0f}"] = (low <= targets.truth) & (targets.truth <= high)
    return [
        {
            "kind": target.kind,
            "structure": target.structures[0],
            "unit": UNITS[target.kind],
            "truth": float(targets.truth[k]),
            "mean": float(found.mean[k]),
            "std": float(found.std[k]),
            **{name: bool(hits[k]) for name, hits in inside.items()},
        }
        for k, target in enumerate(targets.targets)
    ]


def _pairs(labelled: Sequence[LabelledStructure], rng: np.random.Generator) -> list[Target]:
    """Pairs of one composition, first among strained copies, then within groups, then between them."""
    free = [int(k) for k in rng.permutation(len(labelled)) if labelled[k].energy is not None]
    found = []
    for kind in (STRAIN, WITHIN, BETWEEN):
        waiting: dict[str, list[int]] = {}
        for k in free:
            waiting.setdefault(composition(labelled[k].atoms), []).append(k)
        for members in waiting.values():
            while members:
                first = members.pop(0)
                second = next(
                    (
                        k
                        for k in members
                        if _matches(kind, labelled[first], labelled[k]) and _differ(labelled[first], labelled[k])
                    ),
                    None,
                )
                if second is not None:
                    members.remove(second)
                    free = [k for k in free if k not in (first, second)]
                    found.append(Target(kind, (first, second)))
    return found


def _matches(kind: str, a: LabelledStructure, b: LabelledStructure) -> bool:
    same_group = group_of(a.atoms) == group_of(b.atoms)
    if kind == BETWEEN:
        return not same_group
    return _strained(a.atoms, b.atoms) if kind == STRAIN else same_group


def _differ(a: LabelledStructure, b: LabelledStructure) -> bool:
    """Whether labels tell two energies apart: copies that symmetry makes equal are equal for every draw, too."""
    if a.energy is None or b.energy is None:
        return False
    return abs(a.energy / len(a.atoms) - b.energy / len(b.atoms)) > _RESOLVED


def _strained(a: Atoms, b: Atoms) -> bool:
    """Whether two crystals differ by a homogeneous strain and nothing else."""
    if len(a) != len(b) or not (a.numbers == b.numbers).all() or not (a.pbc.all() and b.pbc.all()):
        return False
    moved = b.get_scaled_positions(wrap=False) - a.get_scaled_positions(wrap=False)
    moved -= moved[0]
    return bool(np.abs(moved - np.round(moved)).max() < 1e-3 and np.abs(a.cell.array - b.cell.array).max() > 1e-3)


def _single(labelled: Sequence[LabelledStructure]) -> list[Target]:
    pressures = [Target(PRESSURE, (k,)) for k, item in enumerate(labelled) if item.is_whole("stress")]
    # Forces that vanish by symmetry vanish for every draw, too: nothing is at risk there.
    moving = [item.is_whole("forces") and np.abs(item.label("forces")).max() > _VANISHING for item in labelled]
    return pressures + [Target(LARGEST, (k,)) for k, moves in enumerate(moving) if moves]


def _labels(item: LabelledStructure) -> MeanPrediction:
    """Labels in the form of a potential's answer; what is missing is asked for by no quantity."""
    nothing = np.full((len(item.atoms), 3), np.nan)
    energy = np.nan if item.energy is None else item.energy
    return MeanPrediction(energy, np.empty(0), nothing if item.forces is None else item.forces, item.stress)

"""Atoms pressed together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from kernpot.prediction import MeanPrediction
from kernpot.properties.contacts import pressed_contacts
from kernpot.report.fit_findings import contact_findings, inducing_finding
from kernpot.structures.contacts import closest_contacts
from kernpot.structures.neighbours import find_pairs


class Pairwise:
    """Half a sum over pairs of r^-6 above a distance, below which it falls again."""

    def __init__(self, hole: float, std: float) -> None:
        self.hole, self.std = hole, std

    def mean(self, atoms: Atoms, pairs: Any = None) -> MeanPrediction:
        r = np.linalg.norm(find_pairs(atoms, 4.0).vectors, axis=1)
        energy = 0.5 * np.sum(np.where(r > self.hole, 100 * r**-6.0, 100 * self.hole**-6.0 - 8 * (self.hole - r)))
        return MeanPrediction(float(energy), np.zeros(len(atoms)), np.zeros((len(atoms), 3)))

    def force_std(self, atoms: Atoms, share: Any = None) -> np.ndarray:
        return np.full((len(atoms), 3), self.std)


def test_closest_atoms_of_each_pair_of_elements_are_found_across_the_cell() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    near = atoms.copy()
    near.positions[1] += [0, 0.3, 0]
    found = closest_contacts([atoms, near])
    assert found[11, 17].structure == 1 and found[11, 17].distance < found[11, 11].distance
    i, j = found[11, 17].atoms
    assert np.linalg.norm(found[11, 17].vector) == pytest.approx(found[11, 17].distance)
    assert near.get_distance(i, j, mic=True) == pytest.approx(found[11, 17].distance)


@pytest.mark.parametrize("atoms", [bulk("Cu"), bulk("Cu", cubic=True)], ids=["its own image", "another atom"])
def test_a_hole_below_the_closest_distance_is_found_and_its_depth(atoms: Atoms) -> None:
    rising = pressed_contacts(Pairwise(0.1, 0.01), [atoms], ["cu.xyz#0"])
    assert len(rising) == 2 and all(one.falls_below is None for one in rising)
    assert [found.verdict for found in contact_findings(rising)] == ["good"]
    pressed = pressed_contacts(Pairwise(2.2, 0.01), [atoms], ["cu.xyz#0"])
    alone = next(one for one in pressed if one.where == "a pair alone")
    assert alone.falls_below == pytest.approx(2.2, abs=0.07)
    assert alone.fall == pytest.approx(8 * (2.2 - 0.7 * alone.closest), abs=0.3)
    assert [found.verdict for found in contact_findings([alone])] == ["warning"]
    unsure = pressed_contacts(Pairwise(2.2, 1.0), [atoms], ["cu.xyz#0"])
    assert {found.verdict for found in contact_findings(unsure)} == {"note"}


@pytest.mark.parametrize(
    ("whole", "verdict", "fall"),
    [(2 * math.log(0.8), "warning", 20), (2 * math.log(0.93), "note", 7), (0.01, "good", 0)],
)
def test_whether_inducing_environments_limit_a_model(whole: float, verdict: str, fall: int) -> None:
    summary = {"hyperparameters": {"scores": {"half": 0.0, "whole": whole, "kinds": 2}}}
    told = inducing_finding(summary, 100)
    assert told is not None and told.verdict == verdict
    assert f"fell by {fall} % from half of its 100 inducing environments to all" in told.text
    grown = inducing_finding(summary | {"growth": {"stopped": "there was no time"}}, 100)
    assert grown is not None and "it took no more because there was no time" in grown.text
    assert inducing_finding({"hyperparameters": {}}, 100) is None


def test_a_mean_of_all_quadratic_forms_is_told_with_its_gain() -> None:
    told = {
        "steps": 40,
        "structures": 50,
        "errors_before": {"energy": 2.0, "forces": 4.0},
        "errors": {"energy": 1.0, "forces": 2.0},
    }
    found = inducing_finding({"hyperparameters": {"whole_space": told}}, 100)
    assert found is not None and found.verdict == "good"
    assert "in 40 steps; errors on 50 structures left out fell by 50 %" in found.text

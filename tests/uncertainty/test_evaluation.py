"""Evaluation on labels drawn from the potential's own distribution, where everything must be nominal."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot.errors import KernpotWarning, StructureError
from kernpot.uncertainty import evaluate
from tests.helpers.fakes import LennardJones, drawn_frames


def test_labels_drawn_from_the_potential_are_covered() -> None:
    frames = drawn_frames(40)
    result = evaluate(LennardJones(), frames)
    assert result.n_structures == 40 and result.n_atoms == sum(map(len, frames))
    assert [row.config_type for row in result.rows("forces")] == ["all", "cluster", "crystal"]
    overall = result.rows("forces")[0]
    assert overall.coverage[0.9] == pytest.approx(0.9, abs=0.03) and overall.rms_z == pytest.approx(1, abs=0.05)
    assert overall.n_components == 3 * result.n_atoms
    assert [row.config_type for row in result.rows("stress")] == ["all"]
    assert result.rows("stress")[0].n_structures == 20


def test_units_and_signs() -> None:
    atoms = bulk("Ar", "fcc", a=5.2) * (2, 1, 1)
    mean = LennardJones().mean(atoms)
    assert mean.stress is not None
    stress = mean.stress - np.array([1, 0, 0, 0, 0, 0]) * units.GPa
    forces = mean.forces - 0.25
    atoms.calc = SinglePointCalculator(atoms, energy=mean.energy - 0.010, forces=forces, stress=stress)
    result = evaluate(LennardJones(), [atoms])
    assert result.comparisons["energy"].error == pytest.approx([5.0])
    assert result.comparisons["forces"].error == pytest.approx(np.full(6, 0.25))
    assert result.comparisons["stress"].error == pytest.approx([1, 0, 0, 0, 0, 0], abs=1e-12)
    assert result.comparisons["energy"].std == pytest.approx([2.0 * np.sqrt(2) / 2])


def test_missing_labels_are_left_out_not_zero() -> None:
    energy_only, forces_only, bare = drawn_frames(3)
    energy_only.calc = SinglePointCalculator(energy_only, energy=energy_only.get_potential_energy())
    forces_only.calc = SinglePointCalculator(forces_only, forces=forces_only.get_forces())
    bare.calc = None
    with pytest.warns(KernpotWarning) as told:
        result = evaluate(LennardJones(), [energy_only, forces_only, bare])
    assert "1 of 3 structures (from structures[2] on) have no label" in str(told[0].message)
    assert "1 of 2 structures of several atoms (from structures[0] on) have no forces" in str(told[1].message)
    assert result.rows("energy")[0].n_components == 1
    assert result.rows("forces")[0].n_components == 3 * len(forces_only)
    assert "stress" not in result.comparisons


def test_no_labels_at_all_is_refused() -> None:
    with pytest.raises(StructureError, match="none of the 2 structures has energy, forces or stress"):
        evaluate(LennardJones(), [Atoms("Ar"), Atoms("Ar")])


def test_progress_ends_at_the_total() -> None:
    calls = []
    evaluate(LennardJones(), drawn_frames(11), progress=lambda *call: calls.append(call))
    assert calls == [("predict", 8, 11), ("predict", 11, 11)]


def test_summary_is_json_even_with_infinite_numbers() -> None:
    result = evaluate(LennardJones(force_std=0.0), drawn_frames(4))
    written = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    forces = next(row for row in written["metrics"] if row["kind"] == "forces" and row["config_type"] == "all")
    assert forces["rms_z"] is None and forces["coverage"]["0.9"] == 0.0

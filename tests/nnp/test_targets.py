"""Labels as the training sees them: scales, levels, weights, and the loss written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms

from kernpot.nnp.derivatives import Batch
from kernpot.nnp.targets import Scales, loss, scales_of, targets_of
from kernpot.structures.labels import LabelledStructure, label_structures
from kernpot.structures.noise import NoiseModel
from tests.helpers.systems import cluster, crystals, slab, soap
from tests.nnp.small import Parts, relabelled

FRAMES = [*crystals(4, symbols="Cu3Au"), *crystals(2, 5, symbols="Cu4"), slab(), cluster("Cu3Au")]
ISOLATED = {29: 3.51, 79: 3.8}


def scales(frames: list[Atoms], noise: Any = None) -> tuple[list[LabelledStructure], NoiseModel, Scales]:
    labelled, model = label_structures(frames), NoiseModel.from_user(noise)
    return labelled, model, scales_of(labelled, model, ISOLATED, (29, 79))


def rms_force(frames: list[Atoms]) -> float:
    return float(np.sqrt(np.mean(np.concatenate([a.get_forces().ravel() for a in frames]) ** 2)))


def test_unit_is_the_rms_force() -> None:
    assert scales(FRAMES)[2].unit == pytest.approx(rms_force(FRAMES), rel=1e-12)


def test_offsets_are_the_least_squares_fit_to_energies_per_atom() -> None:
    parts = np.array([[np.mean(a.numbers == z) for z in (29, 79)] for a in FRAMES])
    energies = [(a.get_potential_energy() - sum(ISOLATED[z] for z in a.numbers)) / len(a) for a in FRAMES]
    expected = np.linalg.lstsq(parts, np.array(energies), rcond=None)[0]
    np.testing.assert_allclose(list(scales(FRAMES)[2].offsets.values()), expected, rtol=1e-9)


def test_levels_without_any_given() -> None:
    rms = rms_force(FRAMES)
    expected = {"energy": 0.0025 * rms, "forces": 0.05 * rms, "stress": 0.0005 * rms}
    assert scales(FRAMES)[2].levels == pytest.approx(expected)


def test_levels_given_stay_and_types_have_their_own() -> None:
    frames = [a.copy() for a in FRAMES]
    for new, old in zip(frames, FRAMES, strict=True):
        new.calc = old.calc
    frames[0].info["config_type"] = "liquid"
    noise = {"forces": 0.3, "config_type": {"liquid": {"energy": 0.02, "forces": None}}}
    levels, rms = scales(frames, noise)[2].levels, rms_force(frames)
    assert levels["forces"] == 0.3 and levels["energy[liquid]"] == 0.02
    assert levels["forces[liquid]"] == pytest.approx(0.05 * rms)
    assert levels["energy"] == pytest.approx(0.0025 * rms)


def test_energies_alone_are_scaled_by_their_spread() -> None:
    frames = [relabelled(a, energy=a.get_potential_energy()) for a in FRAMES]
    labelled, _, found = scales(frames)
    left = [(s.energy - sum(ISOLATED[z] + found.offsets[z] for z in s.atoms.numbers)) / len(s.atoms) for s in labelled]
    assert found.unit == pytest.approx(np.std(left), rel=1e-9)
    assert found.levels == {"energy": pytest.approx(0.05 * np.std(left))}


def test_forces_that_all_vanish_and_energies_that_agree() -> None:
    frames = [relabelled(a, energy=sum(ISOLATED[z] for z in a.numbers), forces=np.zeros((len(a), 3))) for a in FRAMES]
    found = scales(frames)[2]
    assert found.unit == 1e-4
    assert found.levels == {"energy": 1e-5, "forces": 1e-4}
    assert found.offsets == pytest.approx({29: 0.0, 79: 0.0}, abs=1e-12)


def test_labels_in_units_of_the_scale() -> None:
    labelled, model, found = scales(FRAMES)
    targets = targets_of(labelled, model, found, ISOLATED)
    at = 0
    for k, a in enumerate(FRAMES):
        known = sum(ISOLATED[z] + found.offsets[z] for z in a.numbers)
        assert float(targets.energies[k]) == pytest.approx(
            (a.get_potential_energy() - known) / len(a) / found.unit, rel=1e-5, abs=1e-6
        )
        np.testing.assert_allclose(targets.forces[at : at + len(a)], a.get_forces() / found.unit, rtol=1e-6, atol=1e-7)
        if a.pbc.all():
            np.testing.assert_allclose(targets.stress[k], a.get_stress() / found.unit, rtol=1e-6, atol=1e-7)
        at += len(a)


def test_missing_labels_weigh_nothing() -> None:
    a = FRAMES[0]
    energy, forces, stress = a.get_potential_energy(), a.get_forces(), a.get_stress()
    frames = [
        relabelled(a, energy=energy),
        relabelled(a, forces=forces),
        relabelled(a, energy=energy, forces=forces),
        relabelled(a, energy=energy, stress=stress),
    ]
    labelled, model, found = scales(frames)
    targets = targets_of(labelled, model, found, ISOLATED)
    assert (targets.energy_weights > 0).tolist() == [True, False, True, True]
    of_atoms = (targets.force_weights > 0).reshape(4, -1)
    assert of_atoms.all(1).tolist() == of_atoms.any(1).tolist() == [False, True, True, False]
    of_stress = targets.stress_weights > 0
    assert of_stress.all(1).tolist() == of_stress.any(1).tolist() == [False, False, False, True]


def test_huge_total_energies_keep_their_differences() -> None:
    """Those of all-electron codes: 1e5 eV an atom in single precision would leave nothing."""
    moved = [relabelled(a, energy=a.get_potential_energy() - 123456.0 * len(a)) for a in FRAMES]
    isolated = {z: e - 123456.0 for z, e in ISOLATED.items()}
    labelled, model = label_structures(moved), NoiseModel()
    found = scales_of(labelled, model, isolated, (29, 79))
    targets = targets_of(labelled, model, found, isolated)
    plain = [relabelled(a, energy=a.get_potential_energy()) for a in FRAMES]
    before, _, old = scales(plain)
    expected = targets_of(before, model, old, ISOLATED)
    np.testing.assert_allclose(targets.energies, expected.energies, atol=1e-5)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_loss_is_the_weighted_sum_of_squares(scale: float) -> None:
    frames = [a.copy() for a in FRAMES]
    for new, old in zip(frames, FRAMES, strict=True):
        new.calc = old.calc
    frames[1] = relabelled(FRAMES[1], forces=FRAMES[1].get_forces())
    frames[2].info["noise_scale"] = scale
    frames[3].info["noise_scale"] = {"forces": scale}
    labelled, model, found = scales(frames, {"energy": 0.01, "forces": 0.2, "stress": 0.002})
    targets = targets_of(labelled, model, found, ISOLATED)
    data = Parts(frames, soap(["Cu", "Au"])).describe()
    chosen = [6, 2, 1, 7, 3]
    batch = Batch(data, np.array(chosen))
    g = torch.Generator().manual_seed(0)
    n_atoms = int(batch.sizes.sum())
    energies = torch.randn((2, len(chosen)), generator=g)
    forces, stress = torch.randn((n_atoms, 3, 2), generator=g), torch.randn((len(chosen), 6, 2), generator=g)
    value = loss(targets, batch, energies, forces, stress)
    assert value.shape == (2, len(chosen))
    at = 0
    for place, k in enumerate(chosen):
        s, n = labelled[k], len(frames[k])
        for member in range(2):
            expected = 0.0
            if s.energy is not None:
                known = sum(ISOLATED[z] + found.offsets[z] for z in s.atoms.numbers)
                error = float(energies[member, place]) * found.unit - (s.energy - known) / n
                expected += (error / (0.01 * s.noise_scale["energy"])) ** 2
            if s.forces is not None:
                error = forces[at : at + n, :, member].double().numpy() * found.unit - s.forces
                expected += ((error / (0.2 * s.noise_scale["forces"])) ** 2).sum() / 10
            if s.stress is not None:
                error = stress[place, :, member].double().numpy() * found.unit - s.stress
                expected += ((error / (0.002 * s.noise_scale["stress"])) ** 2).sum() / 10
            assert float(value[member, place]) == pytest.approx(expected, rel=1e-4)
        at += n


def test_components_that_are_not_known_weigh_nothing() -> None:
    a = FRAMES[0]
    forces, stress = np.array(a.get_forces()), np.array(a.get_stress())
    forces[0], stress[1] = np.nan, np.nan
    part = relabelled(a, energy=a.get_potential_energy(), forces=forces, stress=stress)
    part.arrays["forces_weight"] = np.where(np.arange(len(a)) == 1, 4.0, 1.0)
    labelled, model, found = scales([FRAMES[1], part])
    targets = targets_of(labelled, model, found, ISOLATED)
    n = len(FRAMES[1])
    weights = targets.force_weights
    assert torch.isfinite(targets.forces).all()
    assert torch.isfinite(targets.stress).all()
    assert weights[n].tolist() == [0, 0, 0]
    np.testing.assert_allclose(weights[n + 1], 2 * weights[n + 2])
    np.testing.assert_allclose(weights[n + 2], weights[0])
    assert (targets.stress_weights[1] > 0).tolist() == [True, False, True, True, True, True]

"""Answers: variances put together by hand, and joint covariances that turn with the structure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from kernpot.calibration.misfit import LabelVariances, Misfit
from kernpot.calibration.predictions import Answers, Covariances
from kernpot.descriptors.blocks import PairGradient
from kernpot.prediction import MeanPrediction
from kernpot.structures.neighbours import Pairs

N = 3
MISFIT = {
    "energy": Misfit(0.02, 1.4, reach=0.3),
    "forces": Misfit(0.1, 1.2, exponent=1.15, reference=0.5),
    "stress": Misfit(0.01, 0.7, 5.0),
}


def covariance(rng: np.random.Generator, size: int) -> Tensor:
    half = torch.from_numpy(rng.normal(size=(size, size)))
    return half @ half.mT / size


def variances(parameter: Tensor, pooled: Tensor, epistemic: Tensor) -> LabelVariances:
    return LabelVariances(parameter, pooled, epistemic - parameter)


def answer(parameter: Tensor, epistemic: Tensor, mean: MeanPrediction, with_stress: bool = True):
    """The prediction whose joint covariance these are; pooled variances turn with nothing."""
    answers, atomic = Answers(MISFIT), torch.full((N,), 0.1, dtype=torch.float64)
    p, e = parameter.diagonal(), epistemic.diagonal()
    forces = p[1 : 1 + 3 * N]
    found = {
        "energy": answers.per_atom(variances(p[:1], p[:1], e[:1]), N, float(forces.mean())),
        "forces": variances(forces, forces.view(N, 3).mean(1).repeat_interleave(3), e[1 : 1 + 3 * N]),
    }
    if with_stress:
        stress = p[1 + 3 * N :]
        found["stress"] = variances(stress, stress.mean().expand(6), e[1 + 3 * N :])
    joint = Covariances(epistemic, parameter, 0 * epistemic)
    return answers(mean, found, LabelVariances(atomic, atomic, 0 * atomic), joint)


def means(rng: np.random.Generator, with_stress: bool = True) -> MeanPrediction:
    energies = rng.normal(size=N)
    stress = rng.normal(size=6) if with_stress else None
    return MeanPrediction(float(energies.sum()), energies, rng.normal(size=(N, 3)), stress)


def test_energy_of_many_atoms_has_the_misfit_of_each_of_them(rng: np.random.Generator) -> None:
    parameter = covariance(rng, 16)
    p = answer(parameter, 1.5 * parameter, means(rng))
    v = float(parameter[0, 0])
    s = 0.5 * (v / N**2 + 0.3**2 * float(parameter.diagonal()[1:10].mean()))
    q, k = 1.4**2 * s, 0.5 * v / N**2
    assert float(p.energy.epistemic_std) ** 2 == pytest.approx(1.5 * v)
    assert float(p.energy.std) ** 2 == pytest.approx(1.5 * v + N**2 * (0.02**2 + q**2 / (q + k)))
    np.testing.assert_allclose(p.energies.std**2, 0.1 + 0.02**2 + 1.4**2 * 0.1)


def test_joint_covariance_has_the_variances_of_the_labels_on_its_diagonal(rng: np.random.Generator) -> None:
    parameter = covariance(rng, 16)
    epistemic = parameter + covariance(rng, 16)
    p = answer(parameter, epistemic, means(rng))
    for which, joint in (("std", p.covariance.total), ("epistemic_std", p.covariance.epistemic)):
        expected = np.concatenate([np.ravel(getattr(q, which)) ** 2 for q in (p.energy, p.forces, p.stress)])
        np.testing.assert_allclose(joint.diagonal(), expected, rtol=1e-12)
    assert np.linalg.eigvalsh(p.covariance.total - p.covariance.epistemic)[0] > 0
    assert p.stress.degrees_of_freedom == 5.0


def test_joint_covariance_of_forces_turns_with_the_structure(rng: np.random.Generator) -> None:
    """Misfit included: that of an atom is a tensor, not three numbers."""
    parameter, mean = covariance(rng, 1 + 3 * N), means(rng, with_stress=False)
    epistemic = parameter + covariance(rng, 1 + 3 * N)
    turn = torch.eye(1 + 3 * N, dtype=torch.float64)
    turn[1:, 1:] = torch.block_diag(*N * [torch.from_numpy(Rotation.random(random_state=0).as_matrix())])
    before = answer(parameter, epistemic, mean, False).covariance.total
    after = answer(turn @ parameter @ turn.mT, turn @ epistemic @ turn.mT, mean, False).covariance.total
    np.testing.assert_allclose(after, turn.numpy() @ before @ turn.numpy().T, rtol=1e-10, atol=1e-12)


def test_a_label_by_its_kind_is_that_of_the_whole_prediction(rng: np.random.Generator) -> None:
    parameter, mean = covariance(rng, 16), means(rng)
    p, answers = answer(parameter, 1.5 * parameter, mean), Answers(MISFIT)
    v, forces = parameter[:1, 0], float(parameter.diagonal()[1:10].mean())
    energy = answers.label("energy", np.array(mean.energy), answers.per_atom(variances(v, v, 1.5 * v), N, forces), N)
    assert float(energy.std) == pytest.approx(float(p.energy.std))
    assert float(energy.epistemic_std) == pytest.approx(float(p.energy.epistemic_std))
    f = parameter.diagonal()[1:10]
    found = variances(f, f.view(N, 3).mean(1).repeat_interleave(3), 1.5 * f)
    np.testing.assert_allclose(answers.std("forces", found).reshape(N, 3), p.forces.std)


def test_slopes_along_pairs_that_two_parts_share_add_up(rng: np.random.Generator) -> None:
    """One descriptor sees all pairs, another those at places two and zero."""
    vectors = rng.normal(size=(3, 3))
    pairs = Pairs(np.array([0, 0, 1]), np.array([1, 2, 0]), np.zeros((3, 3), dtype=np.int64), vectors)
    all_, some = torch.from_numpy(rng.normal(size=(3, 3))), torch.from_numpy(rng.normal(size=(2, 3)))
    nothing = torch.zeros(0, dtype=torch.int64)
    slopes = [
        PairGradient(nothing, nothing, all_, slice(0, 3), all_),
        PairGradient(nothing, nothing, some, torch.tensor([2, 0]), some),
    ]
    v = torch.tensor([0.1, 0.2], dtype=torch.float64)
    found = Answers(MISFIT).along_pairs(v, pairs, slopes, LabelVariances(v, v, 0 * v))
    expected = all_.numpy() + np.stack([some[1], np.zeros(3), some[0]])
    np.testing.assert_allclose(found.gradient, expected)
    np.testing.assert_allclose(found.std, np.sqrt(v.numpy() * (1 + 1.4**2) + 0.02**2))

"""The conformance suite: our own potential passes it, and each fault a potential can have is caught by its check."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.calculator import KernpotCalculator
from kernpot.potential import Potential
from kernpot.prediction import EnergyStd, JointCovariance, MeanPrediction, Prediction, Quantity
from kernpot.structures.neighbours import Pairs
from kernpot.testing import LIST_CHECKS, STRUCTURE_CHECKS, check_potential
from tests.fakes import LennardJones
from tests.systems import cluster, crystals, labelled, slab, small_molecule, soap


@pytest.fixture(scope="module")
def alloy() -> SparseGPPotential:
    frames = [*crystals(6, symbols="Cu3Au"), slab(), cluster("Cu3Au")]
    return SparseGPPotential(soap(["Cu", "Au"]), n_inducing=24, random_state=0).fit(frames)


def test_alloy_in_every_periodicity(alloy: SparseGPPotential) -> None:
    wire = crystals(1, 3, symbols="Cu3Au")[0]
    wire.pbc = [False, False, True]
    check_potential(alloy, [crystals(1, 9, symbols="Cu3Au")[0], slab(3), wire, cluster("Cu3Au", 5), Atoms("Cu")])


def test_sum_of_descriptors_and_high_powers() -> None:
    descriptors = [soap(cutoff=3.0), soap(cutoff=4.5, n_max=2, l_max=3, m=1)]
    gp = SparseGPPotential(descriptors, n_inducing=40, kernel=[SOAPKernel(4), SOAPKernel(1)], random_state=0)
    check_potential(gp.fit([*crystals(5), cluster()]), [crystals(1, 4)[0], cluster(seed=3)], random_state=1)


def test_molecule_with_default_descriptor() -> None:
    frames = [small_molecule("CO", seed) for seed in range(4)] + [small_molecule("CO2", seed) for seed in range(4)]
    check_potential(SparseGPPotential(n_inducing=12, random_state=0).fit(frames), frames[:1])


def test_crystal_symmetry_makes_forces_vanish() -> None:
    """Nothing in the suite may divide by a zero force or a zero force std."""
    perfect = labelled(bulk("Cu", cubic=True))
    gp = SparseGPPotential(soap(), n_inducing=20, random_state=0).fit([perfect, *crystals(5)])
    assert np.abs(gp.mean(perfect).forces).max() < 1e-9
    check_potential(gp, [perfect])


def test_is_recognised_by_the_protocol(alloy: SparseGPPotential) -> None:
    assert isinstance(alloy, Potential)


def test_needs_structures(alloy: SparseGPPotential) -> None:
    with pytest.raises(AssertionError, match="at least one structure"):
        check_potential(alloy, [])


# ---------------------------------------------------------------------------------------------------- faulty potentials


class Faulty(SparseGPPotential):
    """A potential whose answers pass through ``spoil`` on their way out."""

    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        return p

    def predict_full(self, structures: Sequence[Atoms] | Atoms, covariance: bool = False) -> list[Prediction]:
        frames = [structures] if isinstance(structures, Atoms) else list(structures)
        found = super().predict_full(frames, covariance)
        return [self.spoil(a, p) for a, p in zip(frames, found, strict=True)]

    @classmethod
    def of(cls, good: SparseGPPotential) -> Self:
        bad = copy.copy(good)
        bad.__class__ = cls
        return bad


def replaced(p: Prediction, **changes: Any) -> Prediction:
    return dataclasses.replace(p, **changes)


def scaled(q: Quantity, mean: Any = 1.0, epistemic: Any = 1.0, std: Any = 1.0) -> Quantity:
    return Quantity(q.mean * mean, q.epistemic_std * epistemic, q.std * std, q.unit)


class WrongForces(Faulty):
    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        m = super().mean(atoms, pairs)
        return MeanPrediction(m.energy, m.energies, m.forces * (1 + 1e-5), m.stress)


class WrongEnergyStd(Faulty):
    def energy_std(self, atoms: Atoms, pairs: Pairs | None = None) -> EnergyStd:
        found = super().energy_std(atoms, pairs)
        return EnergyStd(found.std, 1.001 * found.gradient, found.stress)


class WrongStress(Faulty):
    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        m = super().mean(atoms, pairs)
        order = [0, 1, 2, 5, 4, 3]  # another Voigt convention
        return MeanPrediction(m.energy, m.energies, m.forces, None if m.stress is None else m.stress[order])


class CarelessMean(Faulty):
    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        m = super().mean(atoms, pairs)
        return MeanPrediction(m.energy + 1e-4, m.energies, m.forces, m.stress)


class EpistemicAboveStd(Faulty):
    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        return replaced(p, forces=Quantity(p.forces.mean, 2 * p.forces.std, p.forces.std, p.forces.unit))


class LoneEnergies(Faulty):
    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        return replaced(p, energies=scaled(p.energies, mean=1.001))


class Restless(Faulty):
    count = 0

    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        self.count += 1
        return replaced(p, energy=scaled(p.energy, std=1 + 1e-12 * self.count))


class NoCovariance(Faulty):
    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        return replaced(p, covariance=None)


class WrongCovariance(Faulty):
    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        if p.covariance is None:
            return p
        c = p.covariance
        return replaced(p, covariance=JointCovariance(1.01 * c.epistemic, c.total, c.n_atoms, c.has_stress))


class Vandal(Faulty):
    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        atoms.wrap()
        return p


class OrderMatters(Faulty):
    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        factor = 1 + 0.01 * np.arange(len(atoms))[:, None]
        return replaced(p, forces=scaled(p.forces, epistemic=factor, std=factor))


class OriginMatters(Faulty):
    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        factor = 1 + 0.01 * np.tanh(atoms.positions[:, 0].mean())
        return replaced(p, energy=scaled(p.energy, epistemic=factor, std=factor))


class ImageMatters(Faulty):
    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        factor = 1 + 0.01 * np.tanh(np.ptp(atoms.positions[:, 0]))
        return replaced(p, energies=scaled(p.energies, epistemic=factor, std=factor))


class DirectionMatters(Faulty):
    """The spread of forces is given along the axes only, as if components were independent."""

    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        if p.covariance is None:
            return p
        c = p.covariance
        diagonal = np.diag(c.epistemic.diagonal())
        return replaced(p, covariance=JointCovariance(diagonal, c.total, c.n_atoms, c.has_stress))


class IndependentAtoms(Faulty):
    """The variance of the energy as the sum of atomic variances: a doubled cell then has twice the variance."""

    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        epistemic = np.sqrt((p.energies.epistemic_std**2).sum())
        return replaced(p, energy=Quantity(p.energy.mean, epistemic, np.hypot(epistemic, 0.1), p.energy.unit))


class FeelsTheSize(Faulty):
    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        return replaced(p, forces=scaled(p.forces, epistemic=1 + 0.01 * len(atoms), std=1 + 0.01 * len(atoms)))


class Jumps(Faulty):
    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        bonded = len(atoms) == 2 and atoms.get_distance(0, 1) < self.cutoff
        return replaced(p, energy=scaled(p.energy, mean=1 + 1e-3 * bonded))


class AnswersAnything(Faulty):
    def predict_full(self, structures: Sequence[Atoms] | Atoms, covariance: bool = False) -> list[Prediction]:
        frames = [structures] if isinstance(structures, Atoms) else list(structures)
        for atoms in frames:
            atoms.positions = np.nan_to_num(atoms.positions)
        return [self._predictor(atoms, covariance) for atoms in frames]


class OtherCalculator(Faulty):
    def calculator(self, skin: float = 0.5) -> KernpotCalculator:
        other = LennardJones()
        other.elements_ = self.elements_
        return KernpotCalculator(other, skin=skin)


class LosesOrder(Faulty):
    def predict(self, structures: Sequence[Atoms] | Atoms, return_std: bool = False) -> Any:
        found = super().predict(structures, return_std)
        return found if return_std else found[::-1]


class AlwaysFitted(Faulty):
    def predict(self, structures: Sequence[Atoms] | Atoms, return_std: bool = False) -> Any:
        return super().predict(structures, return_std) if hasattr(self, "_posterior") else np.zeros(len(structures))


class Forgetful(Faulty):
    """Its answers use something that does not go into the model file."""

    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        return replaced(p, forces=scaled(p.forces, std=1.1))


@pytest.mark.parametrize(
    ("fault", "check", "match"),
    [
        (WrongForces, "check_forces", "by central differences"),
        (WrongStress, "check_stress", "stress component 3"),
        (WrongEnergyStd, "check_energy_std", "derivative of energy_std"),
        (CarelessMean, "check_methods_agree", "mean against predict_full"),
        (OtherCalculator, "check_methods_agree", "calculator against predict_full"),
        (EpistemicAboveStd, "check_answers", "std of forces must not be below"),
        (LoneEnergies, "check_answers", "sum of the atomic energies"),
        (Restless, "check_answers", "two calls"),
        (NoCovariance, "check_covariance", "got None"),
        (WrongCovariance, "check_covariance", "variances of"),
        (Vandal, "check_input_is_kept", "input were changed"),
        (OrderMatters, "check_permutation", "epistemic_std squared of forces, another order"),
        (OriginMatters, "check_translation", "std squared of energy, all atoms translated"),
        (ImageMatters, "check_images", "lattice vectors"),
        (DirectionMatters, "check_rotation", "epistemic covariance of forces"),
        (IndependentAtoms, "check_supercell", "epistemic_std squared of energy, cell doubled along a"),
        (FeelsTheSize, "check_separation", "epistemic_std squared of forces of two clusters"),
        (Jumps, "check_cutoff", "crosses the cutoff"),
        (AnswersAnything, "check_refusals", "must raise StructureError"),
        (LosesOrder, "check_lists", "predict of a list"),
        (AlwaysFitted, "check_clone", "NotFittedError"),
        (Forgetful, "check_save_and_load", "after saving and loading"),
    ],
)
def test_fault_is_caught(alloy: SparseGPPotential, fault: type[Faulty], check: str, match: str) -> None:
    bad = fault.of(alloy)
    structures = [crystals(1, 9, symbols="Cu3Au")[0].copy(), cluster("Cu3Au", 5).copy()]
    functions: dict[str, Any] = {f.__name__: f for f in (*STRUCTURE_CHECKS, *LIST_CHECKS)}
    arguments = (structures,) if functions[check] in LIST_CHECKS else (structures[0], np.random.default_rng(0))
    with pytest.raises(AssertionError, match=match):
        functions[check](bad, *arguments)


def test_every_check_catches_a_fault() -> None:
    """A check without a faulty potential above would be untested."""
    marks = [m for m in test_fault_is_caught.pytestmark if m.name == "parametrize"]
    caught = {case[1] for case in marks[0].args[1]}
    assert caught == {f.__name__ for f in (*STRUCTURE_CHECKS, *LIST_CHECKS)}


def test_the_report_names_check_and_structure(alloy: SparseGPPotential) -> None:
    structures = [crystals(1, 9, symbols="Cu3Au")[0], cluster("Cu3Au", 5)]
    with pytest.raises(AssertionError, match=r"^check_answers, structures\[0\] \(AuCu3\): sum of .* may differ"):
        check_potential(LoneEnergies.of(alloy), structures)

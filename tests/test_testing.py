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
from kernpot.backend.selection import Selection
from kernpot.calculator import KernpotCalculator
from kernpot.errors import StructureError
from kernpot.potential import Potential, Share
from kernpot.prediction import (
    DrawPredictions,
    EnergyStd,
    JointCovariance,
    LeftOut,
    MeanPrediction,
    PairPrediction,
    Prediction,
    Quantity,
)
from kernpot.structures.labels import label_structures
from kernpot.structures.neighbours import Pairs
from kernpot.surfaces.draws import Draws, PotentialDraw
from kernpot.testing import LIST_CHECKS, STRUCTURE_CHECKS, check_potential
from tests.helpers.fakes import LennardJones
from tests.helpers.systems import cluster, crystals, labelled, slab, small_molecule, soap


@pytest.fixture(scope="module")
def alloy() -> SparseGPPotential:
    frames = [*crystals(6, symbols="Cu3Au"), slab(), cluster("Cu3Au")]
    return SparseGPPotential(soap(["Cu", "Au"]), n_inducing=24, random_state=0).fit(frames)


def test_alloy_in_every_periodicity(alloy: SparseGPPotential) -> None:
    wire = crystals(1, 3, symbols="Cu3Au")[0]
    wire.pbc = [False, False, True]
    check_potential(alloy, [crystals(1, 9, symbols="Cu3Au")[0], slab(3), wire, cluster("Cu3Au", 5), Atoms("Cu")])


@pytest.mark.slow
def test_sum_of_descriptors_and_high_powers() -> None:
    descriptors = [soap(cutoff=3.0), soap(cutoff=4.5, n_max=2, l_max=3, m=1)]
    gp = SparseGPPotential(descriptors, n_inducing=40, kernel=[SOAPKernel(4), SOAPKernel(1)], random_state=0)
    check_potential(gp.fit([*crystals(5), cluster()]), [crystals(1, 4)[0], cluster(seed=3)], random_state=1)


@pytest.mark.slow
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
        bad = copy.deepcopy(good)  # checks of a broken potential may change it
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


class BentSlopes(Faulty):
    def along_pairs(self, numbers: Any, pairs: Pairs, n_centres: int, std: bool = False) -> PairPrediction:
        p = super().along_pairs(numbers, pairs, n_centres, std)
        return PairPrediction(p.energies, (1 + 1e-5) * p.gradient, p.std)


class SureAlongPairs(Faulty):
    def along_pairs(self, numbers: Any, pairs: Pairs, n_centres: int, std: bool = False) -> PairPrediction:
        p = super().along_pairs(numbers, pairs, n_centres, std)
        return PairPrediction(p.energies, p.gradient, None if p.std is None else 0.999 * p.std)


class SureForces(Faulty):
    def force_std(self, atoms: Atoms, share: Share | None = None, *more: Any, **named: Any) -> np.ndarray:
        return 0.999 * super().force_std(atoms, share)


class SharesNothingOut(Faulty):
    def force_std(self, atoms: Atoms, share: Share | None = None, *more: Any, **named: Any) -> np.ndarray:
        return super().force_std(atoms, None if share is None else share._replace(rank=0))


class WrongEnergyStd(Faulty):
    def energy_std(self, atoms: Atoms, pairs: Pairs | None = None) -> EnergyStd:
        found = super().energy_std(atoms, pairs)
        return EnergyStd(found.std, 1.001 * found.gradient, found.stress)


class WrongUnits(Faulty):
    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        q = p.forces
        return replaced(p, forces=Quantity(1e3 * q.mean, 1e3 * q.epistemic_std, 1e3 * q.std, "meV/Å"))


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


class ForcesJump(Faulty):
    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        bonded = len(atoms) == 2 and atoms.get_distance(0, 1) < self.cutoff
        return replaced(p, forces=Quantity(p.forces.mean + 1e-3 * bonded, p.forces.epistemic_std, p.forces.std, "eV/Å"))


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
        return super().predict(structures, return_std) if hasattr(self, "_fitted") else np.zeros(len(structures))


class Forgetful(Faulty):
    """Its answers use something that does not go into the model file."""

    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        return replaced(p, forces=scaled(p.forces, std=1.1))


# ---------------------------------------------------------------------------------------------------- faulty draws


class Spoilt:
    """Potentials of draws whose answers pass through ``change`` on their way out."""

    def __init__(self, potentials: Any, change: Any, chosen: Any = None) -> None:
        self.potentials, self.change = potentials, change
        self.of_chosen = change if chosen is None else chosen

    def __len__(self) -> int:
        return len(self.potentials)

    def __call__(self, atoms: Atoms, pairs: Pairs | None = None) -> DrawPredictions:
        return self.change(self.potentials(atoms, pairs))

    def chosen(self, index: slice) -> Spoilt:
        return Spoilt(self.potentials.chosen(index), self.of_chosen)


def untouched(found: DrawPredictions) -> DrawPredictions:
    return found


class FaultyDraws(Faulty):
    def sample_potentials(self, n: int, random_state: Any = None, **options: Any) -> Draws:
        draws = super().sample_potentials(n, random_state, **options)
        self.spoil_draws(draws)
        return draws

    def spoil_draws(self, draws: Any) -> None:
        pass


class OneDrawMore(Faulty):
    def sample_potentials(self, n: int, random_state: Any = None, **options: Any) -> Draws:
        return super().sample_potentials(n + 1, random_state, **options)


class Unseeded(Faulty):
    def sample_potentials(self, n: int, random_state: Any = None, **options: Any) -> Draws:
        return super().sample_potentials(n, None, **options)


class SeedOfNumber(Faulty):
    def sample_potentials(self, n: int, random_state: Any = None, **options: Any) -> Draws:
        return super().sample_potentials(n, random_state + n, **options)


class OtherMean(FaultyDraws):
    def spoil_draws(self, draws: Any) -> None:
        draws.mean_potential = draws[0]


class TamePotentials(FaultyDraws):
    """Draws a hundred times closer together than the error bars say."""

    def spoil_draws(self, draws: Any) -> None:
        mean = draws.mean_potential

        class Tame(Spoilt):
            def __call__(self, atoms: Atoms, pairs: Pairs | None = None) -> DrawPredictions:
                found, centre = self.potentials(atoms, pairs), mean.mean(atoms)
                return DrawPredictions(
                    centre.energy + 0.01 * (found.energies - centre.energy),
                    centre.energies + 0.01 * (found.atomic_energies - centre.energies),
                    centre.forces + 0.01 * (found.forces - centre.forces),
                    None if found.stress is None else centre.stress + 0.01 * (found.stress - centre.stress),
                )

            def chosen(self, index: slice) -> Tame:
                return Tame(self.potentials.chosen(index), untouched)

        draws.potentials = Tame(draws.potentials, untouched)


class ShiftedDraws(FaultyDraws):
    def spoil_draws(self, draws: Any) -> None:
        def shifted(found: DrawPredictions) -> DrawPredictions:
            shift = 1e3 / found.atomic_energies.shape[1]
            return dataclasses.replace(
                found, energies=found.energies + 1e3, atomic_energies=found.atomic_energies + shift
            )

        draws.potentials = Spoilt(draws.potentials, shifted)


class BentDraws(FaultyDraws):
    def spoil_draws(self, draws: Any) -> None:
        draws.potentials = Spoilt(
            draws.potentials, lambda found: dataclasses.replace(found, forces=found.forces * 1.001)
        )


class TwistedDraws(FaultyDraws):
    def spoil_draws(self, draws: Any) -> None:
        draws.potentials = Spoilt(
            draws.potentials, lambda found: dataclasses.replace(found, stress=found.stress[:, ::-1])
        )


class TwoFaced(FaultyDraws):
    """Alone a draw says something else than among the others."""

    def spoil_draws(self, draws: Any) -> None:
        def lifted(found: DrawPredictions) -> DrawPredictions:
            return dataclasses.replace(
                found, energies=1.001 * found.energies, atomic_energies=1.001 * found.atomic_energies
            )

        draws.potentials = Spoilt(draws.potentials, lifted, untouched)


class SureOfItself(PotentialDraw):
    def predict_full(self, structures: Any, covariance: bool = False) -> Any:
        return []


class SureDraws(FaultyDraws):
    def spoil_draws(self, draws: Any) -> None:
        class Sure(Draws):
            def __getitem__(self, index: Any) -> Any:
                found = super().__getitem__(index)
                if isinstance(found, PotentialDraw):
                    found.__class__ = SureOfItself
                return found

        draws.__class__ = Sure


# ---------------------------------------------------------------------------------------------------- under a gate


class UnderWatch(Faulty):
    """Has other force stds for structures that are being simulated."""

    def force_std(self, atoms: Atoms, share: Share | None = None, *more: Any, **named: Any) -> np.ndarray:
        std = super().force_std(atoms, share)
        return std if atoms.calc is None else self.instead(std)

    def instead(self, std: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class FalseAlarm(UnderWatch):
    def instead(self, std: np.ndarray) -> np.ndarray:
        return 1.01 * std


class Sleeps(UnderWatch):
    def instead(self, std: np.ndarray) -> np.ndarray:
        return 0.9 * std


class BlamesAnother(UnderWatch):
    def instead(self, std: np.ndarray) -> np.ndarray:
        return std[::-1].copy()


class BentScreen(Faulty):
    def screen(self) -> Any:
        def bent(atoms: Atoms, pairs: Pairs | None = None) -> tuple[MeanPrediction, Any]:
            mean = self.mean(atoms, pairs)
            return dataclasses.replace(mean, forces=1.001 * mean.forces), np.ones(len(atoms))

        return bent


class CoarseScreen(Faulty):
    def screen(self) -> Any:
        return lambda atoms, pairs=None: (self.mean(atoms, pairs), 1.0)


class LeakyCalculator(Faulty):
    """Error bars among the results of the calculator."""

    def calculator(self, skin: float = 0.5) -> KernpotCalculator:
        class Leaky(KernpotCalculator):
            def calculate(self, *arguments: Any, **options: Any) -> None:
                super().calculate(*arguments, **options)
                self.results["forces_std"] = np.zeros_like(self.results["forces"])

        return Leaky(self, skin=skin)


# ---------------------------------------------------------------------------------------------------- faulty learners


class LearnsNothing(Faulty):
    def partial_fit(self, structures: Any, energies: Any = None, forces: Any = None, stress: Any = None) -> Self:
        super(Faulty, copy.deepcopy(self)).partial_fit(structures, energies, forces, stress)
        return self


class ForgetsForces(Faulty):
    def partial_fit(self, structures: Any, energies: Any = None, forces: Any = None, stress: Any = None) -> Self:
        label_structures(structures, energies, forces, stress)
        if energies is None or all(energy is None for energy in energies):
            return self
        return super().partial_fit(structures, energies, [None for _ in structures], stress)


class LearnsElsewhere(Faulty):
    def partial_fit(self, structures: Any, energies: Any = None, forces: Any = None, stress: Any = None) -> Self:
        return super(Faulty, copy.deepcopy(self)).partial_fit(structures, energies, forces, stress)


class LearnsSilently(Faulty):
    def partial_fit(self, structures: Any, energies: Any = None, forces: Any = None, stress: Any = None) -> Self:
        super().partial_fit(structures, energies, forces, stress)
        told = {**self.fitted_.summary, "updates": self.fitted_.summary["updates"][:-1]}
        self._fitted = dataclasses.replace(self.fitted_, summary=told)
        return self


class LearnsBadLabels(Faulty):
    def partial_fit(self, structures: Any, energies: Any = None, forces: Any = None, stress: Any = None) -> Self:
        try:
            return super().partial_fit(structures, energies, forces, stress)
        except StructureError:
            return self


class LearnsBeforeItLooks(Faulty):
    def partial_fit(self, structures: Any, energies: Any = None, forces: Any = None, stress: Any = None) -> Self:
        super().partial_fit(structures[:1], energies[:1], forces[:1])
        return super().partial_fit(structures[1:], energies[1:], forces[1:])


class LearnsBeforeItLooksButSaysWhere(Faulty):
    def partial_fit(self, structures: Any, energies: Any = None, forces: Any = None, stress: Any = None) -> Self:
        super().partial_fit(structures[:1], energies[:1], forces[:1])
        return super().partial_fit(structures, energies, forces)


class UpdatesNothing(Faulty):
    def update(self, structures: Any) -> Self:
        copy.deepcopy(self).partial_fit(structures)
        return self


class SharesItsState(Faulty):
    def __deepcopy__(self, memo: Any) -> Self:
        return self


class SelectsTheFirst(Faulty):
    def select(self, structures: Any, k: int, random_part: float = 0.5) -> Selection:
        return Selection(np.arange(k), np.zeros(k), np.zeros(k, dtype=bool))


class SelectsCopies(Faulty):
    def select(self, structures: Any, k: int, random_part: float = 0.5) -> Selection:
        return Selection(np.roll(np.arange(len(structures)), 1)[:k], np.zeros(k), np.zeros(k, dtype=bool))


class SelectsAtRandom(Faulty):
    def select(self, structures: Any, k: int, random_part: float = 0.5) -> Selection:
        return dataclasses.replace(super().select(structures, k, random_part), random=np.ones(k, dtype=bool))


class SelectsMoreThanThereAre(Faulty):
    def select(self, structures: Any, k: int, random_part: float = 0.5) -> Selection:
        return super().select(structures, min(k, len(structures) - 1), random_part)


class CalibratesBackwards(Faulty):
    def calibrate(self, held_out: Any) -> Self:
        if len(held_out) < 5:
            return super().calibrate(held_out)
        self.narrowed = True
        return self

    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        return replaced(p, energy=scaled(p.energy, epistemic=0.5, std=0.5)) if hasattr(self, "narrowed") else p


class CalibratesTheMean(Faulty):
    def calibrate(self, held_out: Any) -> Self:
        self.moved = bool(super().calibrate(held_out))
        return self

    def spoil(self, atoms: Atoms, p: Prediction) -> Prediction:
        return replaced(p, forces=scaled(p.forces, mean=1.001)) if hasattr(self, "moved") else p


class CalibratesWithOne(Faulty):
    def calibrate(self, held_out: Any) -> Self:
        return self if len(held_out) < 5 else super().calibrate(held_out)


class AlwaysPerfect(Faulty):
    def score(self, structures: Any, energies: Any = None, sample_weight: Any = None) -> float:
        return 1.0


class ScoresTheTotal(Faulty):
    """Labels without the isolated atoms against predictions with them."""

    def score(self, structures: Any, energies: Any = None, sample_weight: Any = None) -> float:
        return super().score(structures, None if energies is None else np.asarray(energies) + 1.0)


class BoldLeftOut(Faulty):
    def left_out(self) -> list[LeftOut]:
        return [LeftOut(100 * one.errors, one.std) for one in super().left_out()]


class LeavesNothingOut(Faulty):
    def left_out(self) -> list[LeftOut]:
        return []


@pytest.mark.parametrize(
    ("fault", "check", "match"),
    [
        (WrongForces, "check_forces", "by central differences"),
        (WrongStress, "check_stress", "stress component 3"),
        (WrongEnergyStd, "check_energy_std", "derivative of energy_std"),
        (WrongUnits, "check_answers", "forces must be in eV/Å"),
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
        (ForcesJump, "check_cutoff", "forces as a neighbour crosses the cutoff"),
        (SureForces, "check_methods_agree", "force_std squared"),
        (SharesNothingOut, "check_methods_agree", "force_std shared by three processes"),
        (BentSlopes, "check_along_pairs", "forces along pairs"),
        (SureAlongPairs, "check_along_pairs", "variances of energies along pairs"),
        (AnswersAnything, "check_refusals", "must raise StructureError"),
        (LosesOrder, "check_lists", "predict of a list"),
        (AlwaysFitted, "check_clone", "NotFittedError"),
        (Forgetful, "check_save_and_load", "after saving and loading"),
        (OneDrawMore, "check_draws", "must give 8 draws, got 9"),
        (Unseeded, "check_draws", "differ between two calls with the same seed"),
        (SeedOfNumber, "check_draws", "few draws against the first of many"),
        (OtherMean, "check_draws", "mean_potential against the mean"),
        (TamePotentials, "check_draws", "the std of energy over draws"),
        (ShiftedDraws, "check_draws", "eV off the mean"),
        (BentDraws, "check_draws", "forces of draw 0: .* by central differences"),
        (TwistedDraws, "check_draws", "draw 0, stress component 0"),
        (TwoFaced, "check_draws", "against draws"),
        (SureDraws, "check_draws", "no error bars, must raise KernpotError"),
        (FalseAlarm, "check_gate", "a gate above it fired"),
        (Sleeps, "check_gate", "must fire, but did not"),
        (BlamesAnother, "check_gate", "the gate's event names"),
        (BentScreen, "check_gate", "the screen's mean"),
        (CoarseScreen, "check_gate", r"numbers of shape \(4,\)"),
        (LeakyCalculator, "check_gate", "got also \\['forces_std'\\]"),
        (LearnsNothing, "check_partial_fit", "must bring predictions nearer"),
        (ForgetsForces, "check_partial_fit", r"nearer to new labels \(forces\)"),
        (LearnsElsewhere, "check_partial_fit", "must return the potential itself"),
        (LearnsSilently, "check_partial_fit", "summary_ must tell"),
        (LearnsBadLabels, "check_partial_fit", "unknown to the fit must raise StructureError"),
        (LearnsBeforeItLooks, "check_partial_fit", r"must name structures\[1\]"),
        (LearnsBeforeItLooksButSaysWhere, "check_partial_fit", "was refused"),
        (UpdatesNothing, "check_update", r"nearer to new labels \(forces and energy\)"),
        (SharesItsState, "check_update", "after update of a deep copy"),
        (SelectsTheFirst, "check_update", "not yet learnt"),
        (SelectsCopies, "check_select", "all 4 different structures"),
        (SelectsAtRandom, "check_select", "must draw none at random"),
        (SelectsMoreThanThereAre, "check_select", "select of 5 among 4 must raise"),
        (CalibratesBackwards, "check_calibrate", "the std of energy must grow"),
        (CalibratesTheMean, "check_calibrate", "after a calibration against before"),
        (CalibratesWithOne, "check_calibrate", "with one structure must raise StructureError"),
        (AlwaysPerfect, "check_score", "must be below 1"),
        (ScoresTheTotal, "check_score", "given apart"),
        (BoldLeftOut, "check_left_out", "times their stds"),
        (LeavesNothingOut, "check_left_out", "of which there are .*, got none"),
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

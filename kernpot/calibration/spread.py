"""Variances as sums of squares of deviations: of members from their mean, or along the axes of a posterior."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from kernpot.calibration.misfit import LabelVariances, Misfit
from kernpot.calibration.predictions import Answers, Covariances
from kernpot.calibration.surroundings import Surroundings, pooled
from kernpot.calibration.unseen_pairs import Unknown, UnseenPairs
from kernpot.potential import Ghosts, Share
from kernpot.prediction import DrawPredictions, EnergyStd, FloatArray, MeanPrediction, PairPrediction, Prediction
from kernpot.structures.neighbours import Pairs, find_pairs
from kernpot.surfaces.potentials import Potentials, Term

# eV: the std of an energy is never less, so that its derivatives stay finite where nothing deviates.
_LEAST = 1e-3


class Deviating(Protocol):
    """A mean potential with potentials that deviate from it: covariances are sums of the deviations' products."""

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Energy, forces and stress of the mean."""

    def deviations(self, atoms: Atoms, pairs: Pairs | None = None) -> tuple[MeanPrediction, DrawPredictions]:
        """The mean, and K deviations of every label."""

    def scatter(self, atoms: Atoms, pairs: Pairs | None = None) -> DrawPredictions:
        """The deviations without the mean, which may cost less."""

    def atomic_deviations(self, numbers: Tensor, pairs: Pairs, n_centres: int) -> Tensor:
        """K deviations of the energies of centres, (K, n_centres)."""

    def deviating_terms(self) -> list[Term]:
        """The deviations of atomic energies as functions of environments, K for every element."""

    @property
    def average(self) -> Potentials:
        """The mean potential, a single one."""

    @property
    def deviating(self) -> Potentials:
        """The deviations as potentials."""


class Growth(NamedTuple):
    """What variances grow by, beyond what deviations show, where those of forces are larger than where data are.

    Few potentials that agree where data are agree more than they should further away.

    Attributes
    ----------
    exponent : float
        Of the variance of the force components around an atom over the reference, where it is above one.
    reference : float
        (eV/A)^2.
    """

    exponent: float
    reference: float

    def __call__(self, around: Tensor) -> Tensor:
        """Factors (n_atoms,) from the mean variance of the force components around each atom, (n_atoms,)."""
        return (around / self.reference).clamp(min=1.0) ** self.exponent


class SpreadParts(NamedTuple):
    """What predictions of a :class:`Spread` are made of, for engines that make them of themselves.

    Attributes
    ----------
    deviating : Potentials
        Whose labels are deviations.
    misfit : mapping of str to Misfit
        Per kind of label.
    growth : Growth or None
    unseen_pairs : UnseenPairs or None
    """

    deviating: Potentials
    misfit: Mapping[str, Misfit]
    growth: Growth | None
    unseen_pairs: UnseenPairs | None


class Spread:
    """Predictions whose epistemic covariance of labels ``y`` is ``sum_k d_k d_k^T``, ``d_k`` the deviations of ``y``.

    It is the parameter part of the variances that :mod:`kernpot.calibration.misfit` is about; nothing is unrepresented.

    Parameters
    ----------
    source : Deviating
    answers : Answers
    cutoff : float
        Angstrom.
    growth : Growth, optional
        Of the variances of energies, forces and stress; those of atomic energies, and of :meth:`energy_std`, are of the
        deviations alone.
    unseen_pairs : UnseenPairs, optional
        What no label tells of atoms that are closer than any in the fit.
    """

    def __init__(
        self,
        source: Deviating,
        answers: Answers,
        cutoff: float,
        growth: Growth | None = None,
        unseen_pairs: UnseenPairs | None = None,
    ) -> None:
        self._source, self._answers, self._cutoff = source, answers, cutoff
        self._growth, self._unseen = growth, unseen_pairs

    @property
    def parts(self) -> SpreadParts:
        """What predictions are made of."""
        return SpreadParts(self._source.deviating, self._answers.of_kinds, self._growth, self._unseen)

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Energy, forces and stress of the mean."""
        return self._source.mean(atoms, pairs)

    def __call__(self, atoms: Atoms, covariance: bool = False) -> Prediction:
        """Distributions of all labels of a structure; ``covariance`` adds the joint one."""
        pairs = find_pairs(atoms, self._cutoff)
        mean, d = self._source.deviations(atoms, pairs)
        d = self._grown(d, pairs)
        found, atomic = self._variances(atoms, d, pairs)
        joint = None
        if covariance:
            parts = [d.energies[:, None], d.forces.reshape(len(d), -1), *([] if d.stress is None else [d.stress])]
            scatter = torch.from_numpy(np.concatenate(parts, axis=1))
            parameter = scatter.T @ scatter
            unknown = None if self._unseen is None else self._unseen(atoms.numbers, pairs)
            volume = None if d.stress is None else float(atoms.get_volume())
            unseen = torch.zeros_like(parameter) if unknown is None else unknown.joint(volume)
            joint = self._answers.joint(Covariances(parameter.clone(), parameter, unseen), atoms.numbers)
        return self._answers.of(atoms)(mean, found, atomic, joint)

    def energy_mean(self, atoms: Atoms) -> float:
        """Mean of the total energy alone, eV."""
        return float(self._source.average.energies(atoms)[0])

    def energy(self, atoms: Atoms) -> tuple[float, float]:
        """Mean and standard deviation (misfit included) of the total energy alone, eV."""
        found = self(atoms).energy
        return float(found.mean), float(found.std)

    def along_pairs(self, numbers: Tensor, pairs: Pairs, n_centres: int, std: bool) -> PairPrediction:
        """Energies of centres with their slopes along pairs, see :meth:`kernpot.potential.Surface.along_pairs`."""
        energies, slopes = self._source.average.along_pairs(numbers, pairs, n_centres)
        atomic = None
        if std:
            variance = self._source.atomic_deviations(numbers, pairs, n_centres).square().sum(0)
            unknown = None if self._unseen is None else self._unseen(numbers.numpy(), pairs, n_centres)
            atomic = _atomic(variance, unknown)
        return self._answers.along_pairs(energies[0], pairs, [block[0] for block in slopes], atomic)

    def force_std(self, atoms: Atoms, share: Share | None, pairs: Pairs | None = None) -> FloatArray:  # noqa: ARG002
        """Standard deviations (n_atoms, 3) of forces; they cost few means, so every process computes them all."""
        pairs = find_pairs(atoms, self._cutoff) if pairs is None else pairs
        found, _ = self._variances(atoms, self._grown(self._source.scatter(atoms, pairs), pairs), pairs)
        return self._answers.of(atoms).std("forces", found["forces"]).reshape(-1, 3)

    def own_force_std(
        self, numbers: NDArray[np.int64], pairs: Pairs, n_own: int, ghosts: Ghosts
    ) -> NDArray[np.float64]:
        """Standard deviations (n_own, 3) of the forces on own atoms; see :class:`kernpot.potential.OfPart`.

        Slopes of the own atoms' energies give the forces on the own atoms and on ghosts, which go home; what is pooled
        with the neighbours of an atom is told to the ghosts.
        """
        deviating, n = self._source.deviating, len(numbers)
        k = len(deviating)
        slopes = torch.zeros((n, 3, k), dtype=torch.float64)
        strain = torch.zeros((3, 3, k), dtype=torch.float64)
        for block in deviating.along_pairs(torch.from_numpy(numbers), pairs, n_own)[1]:
            block.add_to(slopes, strain)
        forces = ghosts.add(slopes.numpy().reshape(n, 3 * k)).reshape(n_own, 3, k)
        variances = torch.from_numpy(np.square(forces).sum(2))
        around = self._around(n, pairs)

        def pool(of_components: Tensor) -> Tensor:
            """Over the surroundings of the own atoms, (n_own,)."""
            told = torch.from_numpy(ghosts.tell(of_components.mean(1, keepdim=True).numpy())[:, 0])
            return around.pool(told)[:n_own] if n_own else told[:0]

        if self._growth is not None:
            variances = variances * self._growth(pool(variances))[:, None]
        found = LabelVariances(
            variances.flatten(), pool(variances).repeat_interleave(3), torch.zeros(3 * n_own, dtype=torch.float64)
        )
        if not n_own:  # a process without atoms, which the others have waited for
            return np.zeros((0, 3))
        unknown = None if self._unseen is None else self._unseen(numbers, pairs, n_own)
        if unknown is not None:
            found = found._replace(unseen=unknown.variances(None)["forces"][: 3 * n_own])
        return self._answers.std("forces", self._answers.of_elements(found, numbers[:n_own])).reshape(n_own, 3)

    def labels(self, atoms: Atoms, kinds: Collection[str]) -> dict[str, tuple[Any, LabelVariances]]:
        """Means of a structure's labels and what their variances are made of, those of energies per atom."""
        pairs = find_pairs(atoms, self._cutoff)
        mean, d = self._source.deviations(atoms, pairs)
        found = self._variances(atoms, self._grown(d, pairs), pairs)[0]
        return {kind: (getattr(mean, kind), found[kind]) for kind in kinds if kind in found}

    def energy_std(self, atoms: Atoms, scale: float, pairs: Pairs | None = None) -> EnergyStd:
        """Std of the energy over draws and its exact derivatives.

        With the energy's deviations ``d_k`` it is ``sigma^2 = c^2 + s^2 sum_k d_k^2``, and its derivatives are those of
        a potential, ``d sigma = s^2 sum_k d_k d(d_k) / sigma``; ``c`` is 1 meV.

        Parameters
        ----------
        scale : float
            ``s``, that of the calibrated draws.
        pairs : Pairs, optional
        """
        d = self._source.scatter(atoms, pairs)
        std = float(np.sqrt(scale**2 * d.energies @ d.energies + _LEAST**2))
        weights = scale**2 * d.energies / std
        stress = None if d.stress is None else weights @ d.stress
        return EnergyStd(std, -np.tensordot(weights, d.forces, 1), stress)

    def _grown(self, d: DrawPredictions, pairs: Pairs) -> DrawPredictions:
        """Deviations with variances that have grown."""
        if self._growth is None:
            return d
        n = d.forces.shape[1]
        around = self._around(n, pairs).pool(_variance(d.forces)).view(n, -1)[:, 0]
        factors = self._growth(around).sqrt().numpy()
        mean = float(np.sqrt(np.mean(factors**2)))
        stress = None if d.stress is None else d.stress * mean
        return DrawPredictions(d.energies * mean, d.atomic_energies, d.forces * factors[:, None], stress)

    def _around(self, n: int, pairs: Pairs) -> Surroundings:
        centres, neighbours, vectors = map(torch.from_numpy, (pairs.centres, pairs.neighbours, pairs.vectors))
        return Surroundings(n, centres, neighbours, vectors, self._cutoff)

    def _variances(
        self, atoms: Atoms, d: DrawPredictions, pairs: Pairs
    ) -> tuple[dict[str, LabelVariances], LabelVariances]:
        n, volume = d.forces.shape[1], None if d.stress is None else float(atoms.get_volume())
        forces, energy = _variance(d.forces), _variance(d.energies)
        around = self._around(n, pairs)
        pools = {"energy": energy, "forces": around.pool(forces)}
        variances = {"energy": energy, "forces": forces}
        if d.stress is not None:
            variances["stress"] = _variance(d.stress)
            pools["stress"] = pooled("stress", variances["stress"], around)
        unknown = None if self._unseen is None else self._unseen(atoms.numbers, pairs)
        unseen = {} if unknown is None else unknown.variances(volume)
        found = {
            kind: LabelVariances(v, pools[kind], torch.zeros_like(v), unseen.get(kind)) for kind, v in variances.items()
        }
        found["energy"] = self._answers.per_atom(found["energy"], n, float(forces.mean()))
        found["forces"] = self._answers.of_elements(found["forces"], atoms.numbers)
        return found, _atomic(_variance(d.atomic_energies), unknown)


@runtime_checkable
class WithSharedDraws(Protocol):
    """A potential that may have error bars of a fixed set of draws."""

    def shared_spread(self) -> Spread | None:
        """Those, whichever error bars the potential answers with; None where it has no such draws."""


def _atomic(variance: Tensor, unknown: Unknown | None) -> LabelVariances:
    """Variances of the energies of atoms."""
    unseen = None if unknown is None else unknown.atomic_variances
    return LabelVariances(variance, variance, torch.zeros_like(variance), unseen)


def _variance(deviations: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(deviations.reshape(len(deviations), -1)).square().sum(0)

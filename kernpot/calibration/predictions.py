"""From variances to predictions: misfit added, every number with its standard deviations and tails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from kernpot.calibration.misfit import LabelVariances, Misfit, misfit_variance
from kernpot.descriptors.blocks import PairGradient
from kernpot.prediction import FloatArray, JointCovariance, MeanPrediction, PairPrediction, Prediction, Quantity
from kernpot.structures.kinds import KINDS
from kernpot.structures.neighbours import Pairs
from kernpot.surfaces.potentials import folded_slopes


class Covariances(NamedTuple):
    """Joint covariances of the energy, force components and, of a periodic structure, stress of one structure.

    Attributes
    ----------
    epistemic, parameter, unseen : Tensor of shape (K, K)
        The posterior's, its parameter part, and that of what no label tells anything of.
    """

    epistemic: Tensor
    parameter: Tensor
    unseen: Tensor

    def scaled(self, factors: Tensor) -> Covariances:
        """What the fit knows of with factors (K,) on standard deviations; what is unseen stays."""
        both = torch.outer(factors, factors)
        return Covariances(both * self.epistemic, both * self.parameter, self.unseen)


class Answers:
    """Makes predictions of means and the variances of labels, whichever model they come from.

    Parameters
    ----------
    misfit : mapping of str to Misfit
        Misfit per label kind: ``energy`` (eV/atom), ``forces`` (eV/A), ``stress`` (eV/A^3).
    factors : mapping of str to float, optional
        On standard deviations, per label kind.
    """

    def __init__(self, misfit: Mapping[str, Misfit], factors: Mapping[str, float] | None = None) -> None:
        self._misfit, self._factors = dict(misfit), dict(factors or {})

    @property
    def of_kinds(self) -> Mapping[str, Misfit]:
        """Misfit per kind of label."""
        return dict(self._misfit)

    def of(self, atoms: Atoms) -> Answers:
        """For structures of the group (``config_type``) of one."""
        group = str(atoms.info.get("config_type", ""))
        factors = {kind: m.by_group[group] for kind, m in self._misfit.items() if group in m.by_group}
        if not factors:
            return self
        misfit = {kind: m.times(factors.get(kind, 1.0)) for kind, m in self._misfit.items()}
        return Answers(misfit, factors)

    def __call__(
        self,
        mean: MeanPrediction,
        found: Mapping[str, LabelVariances],
        atomic: LabelVariances,
        covariance: Covariances | None = None,
    ) -> Prediction:
        """Prediction for one structure.

        Parameters
        ----------
        mean : MeanPrediction
        found : mapping of str to LabelVariances
            Of every kind of label; those of energies per atom.
        atomic : LabelVariances
            Of atomic energies.
        covariance : Covariances, optional
        """
        n, found, atomic = len(mean.energies), *self._all_scaled(found, atomic)
        misfit = {kind: self.misfit(kind, variances) for kind, variances in found.items()}
        # Variances of energies are those per atom, as their misfit is.
        energy = found["energy"].times(n**2)
        misfit["energy"] = n**2 * misfit["energy"][0], misfit["energy"][1]
        return Prediction(
            energy=self._quantity("energy", mean.energy, energy, misfit["energy"]),
            energies=self._quantity("energy", mean.energies, atomic, self.misfit("energy", atomic)),
            forces=self._quantity("forces", mean.forces, found["forces"], misfit["forces"]),
            stress=self._quantity("stress", mean.stress, found["stress"], misfit["stress"])
            if mean.stress is not None
            else None,
            covariance=None if covariance is None else _joint(self._scaled_joint(covariance, n), misfit, n),
        )

    def along_pairs(
        self, energies: Tensor, pairs: Pairs, slopes: Sequence[PairGradient], atomic: LabelVariances | None
    ) -> PairPrediction:
        """Energies of centres with their slopes along pairs.

        Parameters
        ----------
        energies : Tensor of shape (n_centres,)
        pairs : Pairs
        slopes : sequence of PairGradient
            Gradients along some of the pairs each; they add up.
        atomic : LabelVariances, optional
            Of the energies.
        """
        std = None if atomic is None else self.std("energy", atomic)
        return PairPrediction(energies.numpy(), folded_slopes(pairs, slopes), std)

    def std(self, kind: str, found: LabelVariances) -> FloatArray:
        """Standard deviations (n,) of labels of a kind, misfit included."""
        found = self._scaled(kind, found)
        std: FloatArray = (found.parameter + found.unrepresented + self.misfit(kind, found)[0]).sqrt().numpy()
        return std

    def _scaled(self, kind: str, found: LabelVariances) -> LabelVariances:
        return found.scaled(self._factors[kind] ** 2) if kind in self._factors else found

    def _all_scaled(
        self, found: Mapping[str, LabelVariances], atomic: LabelVariances
    ) -> tuple[dict[str, LabelVariances], LabelVariances]:
        return {kind: self._scaled(kind, v) for kind, v in found.items()}, self._scaled("energy", atomic)

    def _scaled_joint(self, covariance: Covariances, n_atoms: int) -> Covariances:
        if not self._factors:
            return covariance
        sizes = {"energy": 1, "forces": 3 * n_atoms, "stress": len(covariance.epistemic) - 1 - 3 * n_atoms}
        widths = [torch.full((n,), self._factors.get(kind, 1.0), dtype=torch.float64) for kind, n in sizes.items()]
        return covariance.scaled(torch.cat(widths))

    @property
    def energies_ask_forces(self) -> bool:
        """Whether the misfit of energies depends on the variance of forces."""
        return self._misfit["energy"].reach > 0

    def per_atom(self, energy: LabelVariances, n_atoms: int, of_forces: float) -> LabelVariances:
        """Variances of an energy per atom; that of the forces stands for its surroundings.

        Parameters
        ----------
        energy : LabelVariances
            Of the total energy, (1,) each.
        n_atoms : int
        of_forces : float
            Mean parameter variance of the force components.
        """
        found = energy.times(1 / n_atoms**2)
        reach = self._misfit["energy"].reach
        return found._replace(pooled=torch.full_like(found.parameter, reach**2 * of_forces)) if reach > 0 else found

    def of_elements(self, found: LabelVariances, numbers: NDArray[np.int64]) -> LabelVariances:
        """Variances of force components with the factors of the elements of their atoms."""
        if not self._misfit["forces"].by_element:
            return found
        return found.scaled(self._misfit["forces"].of_elements(numbers).square().repeat_interleave(3))

    def joint(self, found: Covariances, numbers: NDArray[np.int64]) -> Covariances:
        """With the factors of elements."""
        if not self._misfit["forces"].by_element:
            return found
        factors = torch.ones(len(found.epistemic), dtype=torch.float64)
        factors[1 : 1 + 3 * len(numbers)] = self._misfit["forces"].of_elements(numbers).repeat_interleave(3)
        return found.scaled(factors)

    def ignorance(self, kind: str, unrepresented: Tensor, prior: Tensor) -> Tensor:
        """:meth:`kernpot.calibration.misfit.Misfit.ignorance` of labels of a kind, how often they count beside once."""
        return self._misfit[kind].ignorance(unrepresented, prior, KINDS[kind].together)

    def misfit(self, kind: str, found: LabelVariances) -> tuple[Tensor, Tensor]:
        """What misfit adds to variances of labels of a kind, :func:`kernpot.calibration.misfit.misfit_variance`."""
        return misfit_variance(self._misfit[kind], found, KINDS[kind].together)

    def label(self, kind: str, mean: FloatArray, found: LabelVariances, size: int) -> Quantity:
        """A label of any kind from its mean and variances; those of extensive labels are per atom, of `size` atoms."""
        found = self._scaled(kind, found)
        added, weight = self.misfit(kind, found)
        return self._quantity(kind, mean, found.times(size**2), (size**2 * added, weight))

    def _quantity(
        self, kind: str, mean: np.ndarray | float, found: LabelVariances, misfit: tuple[Tensor, Tensor]
    ) -> Quantity:
        shape = np.shape(mean)
        epistemic = found.parameter + found.unrepresented
        std = (epistemic + misfit[0]).sqrt().numpy().reshape(shape)
        nu = self._misfit[kind].degrees_of_freedom
        return Quantity(np.asarray(mean), epistemic.sqrt().numpy().reshape(shape), std, KINDS[kind].unit, nu)


def _joint(joint: Covariances, misfit: Mapping[str, tuple[Tensor, Tensor]], n_atoms: int) -> JointCovariance:
    """The joint covariance with the misfit of labels."""
    epistemic, parameter, unseen = joint
    added = torch.cat([variance for variance, _ in misfit.values()])
    # Of what is unseen there is the whole matrix.
    total = epistemic + unseen + torch.diag((added - unseen.diagonal()).clamp(min=0.0))
    # The forces on an atom turn with it: their own part of the misfit is its 3 x 3 block, not a diagonal.
    half = 0.5 * misfit["forces"][1]
    for first in range(1, 1 + 3 * n_atoms, 3):
        atom = slice(first, first + 3)
        off_diagonal = parameter[atom, atom] - torch.diag(parameter[atom, atom].diagonal())
        total[atom, atom] += half[first - 1] * off_diagonal
    return JointCovariance(epistemic.numpy(), total.numpy(), n_atoms, "stress" in misfit)

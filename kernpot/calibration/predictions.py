"""From variances to predictions: misfit added, every number with its standard deviations and tails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from kernpot.calibration.misfit import LabelVariances, Misfit, misfit_variance
from kernpot.descriptors.blocks import PairGradient
from kernpot.prediction import FloatArray, JointCovariance, MeanPrediction, PairPrediction, Prediction, Quantity
from kernpot.structures.kinds import KINDS
from kernpot.structures.neighbours import Pairs
from kernpot.surfaces.potentials import folded_slopes


class Answers:
    """Makes predictions of means and the variances of labels, whichever model they come from.

    Parameters
    ----------
    misfit : mapping of str to Misfit
        Misfit per label kind: ``energy`` (eV/atom), ``forces`` (eV/A), ``stress`` (eV/A^3).
    """

    def __init__(self, misfit: Mapping[str, Misfit]) -> None:
        self._misfit = dict(misfit)

    def __call__(
        self,
        mean: MeanPrediction,
        found: Mapping[str, LabelVariances],
        atomic: LabelVariances,
        covariance: tuple[Tensor, Tensor] | None = None,
    ) -> Prediction:
        """Prediction for one structure.

        Parameters
        ----------
        mean : MeanPrediction
        found : mapping of str to LabelVariances
            Of every kind of label; those of energies per atom.
        atomic : LabelVariances
            Of atomic energies.
        covariance : (Tensor, Tensor), optional
            Joint epistemic covariance of energy, forces and stress, and its parameter part, both (K, K).
        """
        n = len(mean.energies)
        misfit = {kind: self.misfit(kind, variances) for kind, variances in found.items()}
        # Variances of energies are those per atom, as their misfit is.
        energy = LabelVariances(*(n**2 * v for v in found["energy"]))
        misfit["energy"] = n**2 * misfit["energy"][0], misfit["energy"][1]
        return Prediction(
            energy=self._quantity("energy", mean.energy, energy, misfit["energy"]),
            energies=self._quantity("energy", mean.energies, atomic, self.misfit("energy", atomic)),
            forces=self._quantity("forces", mean.forces, found["forces"], misfit["forces"]),
            stress=self._quantity("stress", mean.stress, found["stress"], misfit["stress"])
            if mean.stress is not None
            else None,
            covariance=None if covariance is None else _joint(*covariance, misfit, n),
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
        std: FloatArray = (found.parameter + found.unrepresented + self.misfit(kind, found)[0]).sqrt().numpy()
        return std

    @property
    def energies_ask_forces(self) -> bool:
        """Whether the misfit of energies depends on the variance of forces."""
        return self._misfit["energy"].reach > 0

    def per_atom(self, energy: tuple[Tensor, Tensor], n_atoms: int, of_forces: float) -> LabelVariances:
        """Variances of an energy per atom; that of the forces stands for its surroundings.

        Parameters
        ----------
        energy : (Tensor, Tensor)
            Parameter and unrepresented variance of the total energy, (1,) each.
        n_atoms : int
        of_forces : float
            Mean parameter variance of the force components.
        """
        own, unrepresented = (v / n_atoms**2 for v in energy)
        reach = self._misfit["energy"].reach
        return LabelVariances(own, torch.full_like(own, reach**2 * of_forces) if reach > 0 else own, unrepresented)

    def misfit(self, kind: str, found: LabelVariances) -> tuple[Tensor, Tensor]:
        """What misfit adds to variances of labels of a kind, :func:`kernpot.calibration.misfit.misfit_variance`."""
        return misfit_variance(self._misfit[kind], found, KINDS[kind].together)

    def label(self, kind: str, mean: FloatArray, found: LabelVariances, size: int) -> Quantity:
        """A label of any kind from its mean and variances; those of extensive labels are per atom, of `size` atoms."""
        added, weight = self.misfit(kind, found)
        total = LabelVariances(*(size**2 * v for v in found))
        return self._quantity(kind, mean, total, (size**2 * added, weight))

    def _quantity(
        self, kind: str, mean: np.ndarray | float, found: LabelVariances, misfit: tuple[Tensor, Tensor]
    ) -> Quantity:
        shape = np.shape(mean)
        epistemic = found.parameter + found.unrepresented
        std = (epistemic + misfit[0]).sqrt().numpy().reshape(shape)
        nu = self._misfit[kind].degrees_of_freedom
        return Quantity(np.asarray(mean), epistemic.sqrt().numpy().reshape(shape), std, KINDS[kind].unit, nu)


def _joint(
    epistemic: Tensor, parameter: Tensor, misfit: Mapping[str, tuple[Tensor, Tensor]], n_atoms: int
) -> JointCovariance:
    """The joint covariance with the misfit of labels."""
    total = epistemic + torch.diag(torch.cat([variance for variance, _ in misfit.values()]))
    # The forces on an atom turn with it: their own part of the misfit is its 3 x 3 block, not a diagonal.
    half = 0.5 * misfit["forces"][1]
    for first in range(1, 1 + 3 * n_atoms, 3):
        atom = slice(first, first + 3)
        off_diagonal = parameter[atom, atom] - torch.diag(parameter[atom, atom].diagonal())
        total[atom, atom] += half[first - 1] * off_diagonal
    return JointCovariance(epistemic.numpy(), total.numpy(), n_atoms, "stress" in misfit)

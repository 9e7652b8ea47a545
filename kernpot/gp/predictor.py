"""The full posterior of a structure's energy, atomic energies, forces and stress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.descriptors.soap import SOAPFeatures
from kernpot.functionals.prior import joint_prior, nonnegative
from kernpot.functionals.rows import energy_rows, force_rows, local_energy_rows, stress_rows
from kernpot.functionals.state import Structure
from kernpot.gp.mean import MeanPotential
from kernpot.gp.posterior import Posterior
from kernpot.gp.whitening import Whitening
from kernpot.uncertainty.prediction import JointCovariance, Prediction, Quantity


class Predictor:
    """Means and variances of every label of a structure.

    The variance of a functional with unit-amplitude row ``phi`` and prior variance ``k**`` is

        |R^-T b|^2 + (k** - |b|^2) + misfit^2,   b = D L^-1 phi,

    its parameter part, the part the inducing environments cannot represent (together the epistemic variance; Quinonero-
    Candela and Rasmussen, JMLR 6, 1939 (2005), eq. 20) and the misfit of labels.

    Parameters
    ----------
    descriptors : sequence of SOAPFeatures
    whitening : Whitening
    posterior : Posterior
    amplitudes : Tensor of shape (n_blocks,), eV
    misfit : mapping of str to float
        Standard deviation of the misfit per label kind: ``energy`` (eV/atom), ``forces`` (eV/A), ``stress`` (eV/A^3).
    mean : MeanPotential
    """

    def __init__(
        self,
        descriptors: Sequence[SOAPFeatures],
        whitening: Whitening,
        posterior: Posterior,
        amplitudes: Tensor,
        misfit: Mapping[str, float],
        mean: MeanPotential,
    ) -> None:
        self._descriptors, self._whitening, self._posterior = list(descriptors), whitening, posterior
        self._amplitudes, self._misfit, self._mean = amplitudes, dict(misfit), mean

    def __call__(self, atoms: Atoms, covariance: bool = False) -> Prediction:
        """Prediction for one structure; ``covariance`` adds the joint covariance of energy, forces and stress."""
        blocks = self._whitening.blocks
        structure = Structure(self._descriptors, atoms)
        mean = self._mean(atoms)
        n = structure.n_atoms
        whitened = []

        row, prior = energy_rows(structure, blocks)
        whitened.append(self._whitening(row))
        energy = self._variance(whitened[0], prior, "the energy", n)
        rows, prior = local_energy_rows(structure, blocks)
        energies = self._variance(self._whitening(rows), prior, "an atomic energy")
        forces = torch.empty(3 * n, dtype=torch.float64)
        for chosen, rows, prior in force_rows(structure, blocks):
            b = self._whitening(rows)
            forces[3 * chosen.start : 3 * chosen.stop] = self._variance(b, prior, "a force component")
            if covariance:
                whitened.append(b)
        stress = None
        if mean.stress is not None and structure.volume is not None:
            rows, prior = stress_rows(structure, blocks)
            whitened.append(self._whitening(rows))
            variance = self._variance(whitened[-1], prior, "a stress component", (n / structure.volume) ** 2)
            stress = self._quantity(mean.stress, variance, self._misfit["stress"], "eV/A^3")
        return Prediction(
            energy=self._quantity(mean.energy, energy[0], self._misfit["energy"] * n, "eV"),
            energies=self._quantity(mean.energies, energies, self._misfit["energy"], "eV"),
            forces=self._quantity(mean.forces, forces.view(n, 3), self._misfit["forces"], "eV/A"),
            stress=stress,
            covariance=self._covariance(structure, torch.cat(whitened)) if covariance else None,
        )

    def energy(self, atoms: Atoms) -> tuple[float, float]:
        """Mean and standard deviation (misfit included) of the total energy alone, eV."""
        structure = Structure(self._descriptors, atoms)
        row, prior = energy_rows(structure, self._whitening.blocks)
        variance = float(self._variance(self._whitening(row), prior, "the energy", structure.n_atoms)[0])
        return self._mean(atoms).energy, float(np.sqrt(variance + (self._misfit["energy"] * structure.n_atoms) ** 2))

    def _variance(self, whitened: Tensor, prior: Tensor, what: str, unit: float = 1.0) -> Tensor:
        """Epistemic variance from whitened unit-amplitude rows (n, M) and prior variances (n, n_blocks)."""
        represented = torch.zeros_like(prior).index_add_(1, self._whitening.block, whitened.square())
        unrepresented = nonnegative(prior - represented, prior, what, unit)
        parameter = self._posterior.variance(whitened * self._posterior.scale)
        return parameter + unrepresented @ self._amplitudes.square()

    def _quantity(self, mean: np.ndarray | float, variance: Tensor, misfit: float, unit: str) -> Quantity:
        epistemic = variance.numpy()
        return Quantity(np.asarray(mean), np.sqrt(epistemic), np.sqrt(epistemic + misfit**2), unit)

    def _covariance(self, structure: Structure, whitened: Tensor) -> JointCovariance:
        epistemic = self._posterior.covariance(whitened * self._posterior.scale)
        for b, block in enumerate(self._whitening.blocks):
            described = structure.described[block.descriptor]
            prior = joint_prior(described, block.element, block.zeta, structure.volume)
            part = whitened[:, block.columns]
            epistemic += self._amplitudes[b] ** 2 * (prior - part @ part.T)
        n = structure.n_atoms
        misfit = [(self._misfit["energy"] * n) ** 2] + [self._misfit["forces"] ** 2] * (3 * n)
        if structure.volume is not None:
            misfit += [self._misfit["stress"] ** 2] * 6
        total = epistemic + torch.diag(torch.tensor(misfit, dtype=torch.float64))
        return JointCovariance(epistemic.numpy(), total.numpy(), n, structure.volume is not None)

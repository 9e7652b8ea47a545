"""The full posterior of a structure's energy, atomic energies, forces and stress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.descriptors.soap import SOAPFeatures
from kernpot.functionals.prior import joint_prior, nonnegative
from kernpot.functionals.rows import energy_prior, energy_rows, force_rows, local_energy_rows, stress_rows
from kernpot.functionals.state import Structure
from kernpot.gp.mean import MeanPotential
from kernpot.gp.misfit import Misfit, Surroundings, pooled_variance
from kernpot.gp.posterior import Posterior
from kernpot.gp.whitening import Whitening
from kernpot.prediction import JointCovariance, Prediction, Quantity
from kernpot.structures.neighbours import Pairs, find_pairs


class Variances(NamedTuple):
    """Parts of an epistemic variance: of the parameters, and of what the inducing environments cannot represent."""

    parameter: Tensor
    unrepresented: Tensor


class Predictor:
    """Means and variances of every label of a structure.

    The variance of a functional with unit-amplitude row ``phi`` and prior variance ``k**`` is

        |R^-T b|^2 + (k** - |b|^2) + misfit,   b = D L^-1 phi,

    its parameter part, the part the inducing environments cannot represent (together the epistemic variance; Quinonero-
    Candela and Rasmussen, JMLR 6, 1939 (2005), eq. 20) and the misfit of labels (:mod:`kernpot.gp.misfit`).

    Parameters
    ----------
    descriptors : sequence of SOAPFeatures
    whitening : Whitening
    posterior : Posterior
    amplitudes : Tensor of shape (n_blocks,), eV
    misfit : mapping of str to Misfit
        Misfit per label kind: ``energy`` (eV/atom), ``forces`` (eV/A), ``stress`` (eV/A^3).
    mean : MeanPotential
    """

    def __init__(
        self,
        descriptors: Sequence[SOAPFeatures],
        whitening: Whitening,
        posterior: Posterior,
        amplitudes: Tensor,
        misfit: Mapping[str, Misfit],
        mean: MeanPotential,
    ) -> None:
        self._descriptors, self._whitening, self._posterior = list(descriptors), whitening, posterior
        self._amplitudes, self._misfit, self._mean = amplitudes, dict(misfit), mean

    def __call__(self, atoms: Atoms, covariance: bool = False) -> Prediction:
        """Prediction for one structure; ``covariance`` adds the joint covariance of energy, forces and stress."""
        blocks = self._whitening.blocks
        pairs = self._pairs(atoms)
        structure = Structure(self._descriptors, atoms, pairs)
        mean = self._mean(atoms, pairs[0])
        n = structure.n_atoms

        total = torch.zeros((1, len(self._whitening.block)), dtype=torch.float64)
        local, parts, whitened = [], [], [total]
        for atoms_, rows, prior in force_rows(structure, blocks):
            own, own_prior = local_energy_rows(structure, blocks, atoms_)
            b = self._whitening(torch.cat([rows, own]))
            parts.append(self._variances(b[: len(rows)], prior, "a force component"))
            local.append(self._variances(b[len(rows) :], own_prior, "an atomic energy"))
            total += b[len(rows) :].sum(0)
            if covariance:
                whitened.append(b[: len(rows)])
        energy = self._variances(total, energy_prior(structure, blocks), "the energy", n)
        energies, forces = (Variances(*(torch.cat(v) for v in zip(*p, strict=True))) for p in (local, parts))
        surroundings = Surroundings(structure)
        misfit = {
            "energy": self._energy_misfit(energy.parameter, n),
            "energies": self._misfit["energy"].variance(energies.parameter, energies.parameter),
            "forces": self._pooled_misfit("forces", forces.parameter, surroundings),
        }
        stress = None
        if mean.stress is not None and structure.volume is not None:
            rows, prior = stress_rows(structure, blocks)
            whitened.append(self._whitening(rows))
            found = self._variances(whitened[-1], prior, "a stress component", (n / structure.volume) ** 2)
            misfit["stress"] = self._pooled_misfit("stress", found.parameter, surroundings)
            stress = _quantity(mean.stress, found, misfit["stress"], "eV/A^3")
        joint = None
        if covariance:
            kinds = ["energy", "forces"] + ["stress"] * (stress is not None)
            joint = self._covariance(structure, torch.cat(whitened), torch.cat([misfit[kind] for kind in kinds]))
        return Prediction(
            energy=_quantity(mean.energy, Variances(*(v[0] for v in energy)), misfit["energy"][0], "eV"),
            energies=_quantity(mean.energies, energies, misfit["energies"], "eV"),
            forces=_quantity(mean.forces, forces, misfit["forces"], "eV/A"),
            stress=stress,
            covariance=joint,
        )

    def energy(self, atoms: Atoms) -> tuple[float, float]:
        """Mean and standard deviation (misfit included) of the total energy alone, eV."""
        pairs = self._pairs(atoms)
        structure = Structure(self._descriptors, atoms, pairs)
        row, prior = energy_rows(structure, self._whitening.blocks)
        found = self._variances(self._whitening(row), prior, "the energy", structure.n_atoms)
        total = found.parameter + found.unrepresented + self._energy_misfit(found.parameter, structure.n_atoms)
        return self._mean(atoms, pairs[0]).energy, float(total[0].sqrt())

    def _pairs(self, atoms: Atoms) -> list[Pairs]:
        """One search serves every descriptor, and the mean."""
        for f in self._descriptors:
            f.check(atoms)
        return [find_pairs(atoms, max(f.cutoff for f in self._descriptors))] * len(self._descriptors)

    def _energy_misfit(self, parameter: Tensor, n_atoms: int) -> Tensor:
        """Misfit variance of a total energy; the misfit is one of energies per atom."""
        per_atom = parameter / n_atoms**2
        return n_atoms**2 * self._misfit["energy"].variance(per_atom, per_atom)

    def _pooled_misfit(self, kind: str, parameter: Tensor, surroundings: Surroundings) -> Tensor:
        return self._misfit[kind].variance(parameter, pooled_variance(kind, parameter, surroundings))

    def _variances(self, whitened: Tensor, prior: Tensor, what: str, unit: float = 1.0) -> Variances:
        """Epistemic variances from whitened unit-amplitude rows (n, M) and prior variances (n, n_blocks)."""
        represented = torch.zeros_like(prior).index_add_(1, self._whitening.block, whitened.square())
        unrepresented = nonnegative(prior - represented, prior, what, unit)
        parameter = self._posterior.variance(whitened * self._posterior.scale)
        return Variances(parameter, unrepresented @ self._amplitudes.square())

    def _covariance(self, structure: Structure, whitened: Tensor, misfit: Tensor) -> JointCovariance:
        epistemic = self._posterior.covariance(whitened * self._posterior.scale)
        parameter = epistemic.clone()
        for b, block in enumerate(self._whitening.blocks):
            described = structure.described[block.descriptor]
            prior = joint_prior(described, block.element, block.zeta, structure.volume)
            part = whitened[:, block.columns]
            epistemic += self._amplitudes[b] ** 2 * (prior - part @ part.T)
        total = epistemic + torch.diag(misfit)
        # The forces on an atom turn with it: their own part of the misfit is its 3 x 3 block, not a diagonal.
        half = 0.5 * self._misfit["forces"].factor ** 2
        for first in range(1, 1 + 3 * structure.n_atoms, 3):
            atom = slice(first, first + 3)
            total[atom, atom] += half * (parameter[atom, atom] - torch.diag(parameter[atom, atom].diagonal()))
        return JointCovariance(epistemic.numpy(), total.numpy(), structure.n_atoms, structure.volume is not None)


def _quantity(mean: np.ndarray | float, variances: Variances, misfit: Tensor, unit: str) -> Quantity:
    epistemic = variances.parameter + variances.unrepresented
    shape = np.shape(mean)
    std = (epistemic + misfit).sqrt().numpy().reshape(shape)
    return Quantity(np.asarray(mean), epistemic.sqrt().numpy().reshape(shape), std, unit)

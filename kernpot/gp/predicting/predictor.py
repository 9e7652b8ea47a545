"""The full posterior of a structure's energy, atomic energies, forces and stress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.calibration.misfit import LabelVariances, Misfit
from kernpot.calibration.predictions import Answers
from kernpot.calibration.surroundings import Surroundings, mean_variance
from kernpot.descriptors.soap import SOAPFeatures
from kernpot.functionals.prior import joint_prior, nonnegative
from kernpot.functionals.rows import (
    energy_prior,
    energy_rows,
    environment_rows,
    force_rows,
    local_energy_rows,
    stress_rows,
)
from kernpot.functionals.state import Structure, normalise
from kernpot.gp.rows.whitening import Whitening
from kernpot.parallel.threads import in_threads
from kernpot.potential import Share
from kernpot.prediction import FloatArray, PairPrediction, Prediction
from kernpot.regression.posterior import Posterior
from kernpot.structures.neighbours import Pairs, find_pairs
from kernpot.surfaces.potentials import MeanPotential


class Variances(NamedTuple):
    """Parts of an epistemic variance: of the parameters, and of what the inducing environments cannot represent."""

    parameter: Tensor
    unrepresented: Tensor


class Predictor:
    """Means and variances of every label of a structure.

    The variance of a functional with unit-amplitude row ``phi`` and prior variance ``k**`` is

        |R^-T b|^2 + (k** - |b|^2),   b = D L^-1 phi,

    its parameter part and the part the inducing environments cannot represent (Quinonero-Candela and Rasmussen, JMLR 6,
    1939 (2005), eq. 20); that of a label holds its misfit too (:mod:`kernpot.calibration.misfit`).

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
        self._amplitudes, self._answers, self.mean = amplitudes, Answers(misfit), mean

    def __call__(self, atoms: Atoms, covariance: bool = False) -> Prediction:
        """Prediction for one structure; ``covariance`` adds the joint covariance of energy, forces and stress."""
        pairs = self._pairs(atoms)
        structure = Structure(self._descriptors, atoms, pairs)
        mean = self.mean(atoms, pairs[0])
        found, atomic, whitened = self._found(structure, mean.stress is not None, covariance)
        joint = self._covariance(structure, torch.cat(whitened)) if covariance else None
        return self._answers(mean, found, atomic, joint)

    def label_variances(self, atoms: Atoms) -> dict[str, LabelVariances]:
        """What the variances of a structure's labels are made of; those of energies per atom."""
        structure = Structure(self._descriptors, atoms, self._pairs(atoms))
        return self._found(structure, structure.volume is not None, keep=False)[0]

    def energy(self, atoms: Atoms) -> tuple[float, float]:
        """Mean and standard deviation (misfit included) of the total energy alone, eV."""
        pairs = self._pairs(atoms)
        structure = Structure(self._descriptors, atoms, pairs)
        row, prior = energy_rows(structure, self._whitening.blocks)
        found = self._variances(self._whitening(row), prior, "the energy", structure.n_atoms)
        n = structure.n_atoms
        misfit, _ = self._answers.misfit("energy", self._answers.per_atom(found, n, self._force_variance(structure)))
        total = found.parameter + found.unrepresented + n**2 * misfit
        return self.mean(atoms, pairs[0]).energy, float(total[0].sqrt())

    def force_std(self, atoms: Atoms, share: Share | None) -> FloatArray:
        """Standard deviations (n_atoms, 3) of forces; see :meth:`kernpot.potential.Potential.force_std`."""
        structure = Structure(self._descriptors, atoms, self._pairs(atoms))
        found = np.zeros((2, 3 * structure.n_atoms))
        mine = (0, 1) if share is None else (share.rank, share.size)
        for here, rows, prior in force_rows(structure, self._whitening.blocks, True, *mine):
            own = slice(3 * here.start, 3 * here.stop)
            found[:, own] = np.stack(self._variances(self._whitening(rows), prior, "a force component"))
        parameter, unrepresented = torch.from_numpy(found if share is None else share.total(found))
        variances = LabelVariances(parameter, Surroundings.of(structure).pool(parameter), unrepresented)
        return self._answers.std("forces", variances).reshape(-1, 3)

    def along_pairs(self, numbers: Tensor, pairs: Pairs, n_centres: int, std: bool) -> PairPrediction:
        """Energies of centres with their slopes along pairs, see :meth:`kernpot.potential.Surface.along_pairs`."""
        energies, slopes = self.mean.potentials.along_pairs(numbers, pairs, n_centres)
        atomic = self._atomic(numbers, pairs, n_centres) if std else None
        return self._answers.along_pairs(energies[0], pairs, [block[0] for block in slopes], atomic)

    def _atomic(self, numbers: Tensor, pairs: Pairs, n_centres: int) -> LabelVariances:
        """Variances of the energies of centres, a bounded number of them in memory at a time."""

        def part(bounds: tuple[int, int]) -> Variances:
            blocks = (f.environments(numbers, pairs, *bounds) for f in self._descriptors)
            unit = [normalise(block.environments.features())[0] for block in blocks]
            rows, prior = environment_rows(numbers[slice(*bounds)], unit, self._whitening.blocks)
            return self._variances(self._whitening(rows), prior, "an atomic energy")

        if not n_centres:
            return LabelVariances(*torch.zeros((3, 0), dtype=torch.float64))
        parts = in_threads(part, self._descriptors[0].bounds(n_centres, pairs))
        parameter, unrepresented = (torch.cat(v) for v in zip(*parts, strict=True))
        return LabelVariances(parameter, parameter, unrepresented)

    def _found(
        self, structure: Structure, with_stress: bool, keep: bool
    ) -> tuple[dict[str, LabelVariances], LabelVariances, list[Tensor]]:
        """Variances by label kind, those of atomic energies, and the whitened rows if they are to be kept."""
        blocks, n = self._whitening.blocks, structure.n_atoms
        total = torch.zeros((1, len(self._whitening.block)), dtype=torch.float64)
        local, parts, whitened = [], [], [total]
        for atoms, rows, prior in force_rows(structure, blocks):
            own, own_prior = local_energy_rows(structure, blocks, atoms)
            b = self._whitening(torch.cat([rows, own]))
            parts.append(self._variances(b[: len(rows)], prior, "a force component"))
            local.append(self._variances(b[len(rows) :], own_prior, "an atomic energy"))
            total += b[len(rows) :].sum(0)
            if keep:
                whitened.append(b[: len(rows)])
        energies, forces = (Variances(*(torch.cat(v) for v in zip(*p, strict=True))) for p in (local, parts))
        energy = self._variances(total, energy_prior(structure, blocks), "the energy", n)
        found = {
            "energy": self._answers.per_atom(energy, n, float(forces.parameter.mean())),
            "forces": LabelVariances(
                forces.parameter, Surroundings.of(structure).pool(forces.parameter), forces.unrepresented
            ),
        }
        if with_stress and structure.volume is not None:
            rows, prior = stress_rows(structure, blocks)
            whitened.append(self._whitening(rows))
            stress = self._variances(whitened[-1], prior, "a stress component", (n / structure.volume) ** 2)
            found["stress"] = LabelVariances(stress.parameter, mean_variance(stress.parameter), stress.unrepresented)
        return found, LabelVariances(energies.parameter, energies.parameter, energies.unrepresented), whitened

    def _force_variance(self, structure: Structure) -> float:
        """Mean parameter variance of the force components, where the misfit of energies asks for it."""
        if not self._answers.energies_ask_forces:
            return 0.0
        parts = [
            self._posterior.variance(self._whitening(rows) * self._posterior.scale)
            for _, rows, _ in force_rows(structure, self._whitening.blocks, with_prior=False)
        ]
        return float(torch.cat(parts).mean())

    def _pairs(self, atoms: Atoms) -> list[Pairs]:
        """One search serves every descriptor, and the mean."""
        for f in self._descriptors:
            f.check(atoms)
        return [find_pairs(atoms, max(f.cutoff for f in self._descriptors))] * len(self._descriptors)

    def _variances(self, whitened: Tensor, prior: Tensor, what: str, unit: float = 1.0) -> Variances:
        """Epistemic variances from whitened unit-amplitude rows (n, M) and prior variances (n, n_blocks)."""
        represented = torch.zeros_like(prior).index_add_(1, self._whitening.block, whitened.square())
        unrepresented = nonnegative(prior - represented, prior, what, unit)
        parameter = self._posterior.variance(whitened * self._posterior.scale)
        return Variances(parameter, unrepresented @ self._amplitudes.square())

    def _covariance(self, structure: Structure, whitened: Tensor) -> tuple[Tensor, Tensor]:
        """Joint epistemic covariance, and its parameter part."""
        parameter = self._posterior.covariance(whitened * self._posterior.scale)
        epistemic = parameter.clone()
        for b, block in enumerate(self._whitening.blocks):
            described = structure.described[block.descriptor]
            prior = joint_prior(described, block.element, block.zeta, structure.volume)
            part = whitened[:, block.columns]
            epistemic += self._amplitudes[b] ** 2 * (prior - part @ part.T)
        return epistemic, parameter

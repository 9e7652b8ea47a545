"""The full posterior of a structure's energy, atomic energies, forces and stress."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.calibration.misfit import LabelVariances
from kernpot.calibration.predictions import Answers, Covariances
from kernpot.calibration.surroundings import Surroundings, pooled
from kernpot.calibration.unseen_pairs import Unknown
from kernpot.functionals.labels import functional_of
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
from kernpot.gp.fitted import FittedGP
from kernpot.parallel.threads import in_threads
from kernpot.potential import Share
from kernpot.prediction import FloatArray, PairPrediction, Prediction, Quantity
from kernpot.structures.kinds import KINDS, LABEL_KINDS
from kernpot.structures.neighbours import Pairs


class Variances(NamedTuple):
    """Parts of an epistemic variance: of the parameters, and of what the inducing environments cannot represent.

    With them the prior variance.
    """

    parameter: Tensor
    unrepresented: Tensor
    prior: Tensor


class Predictor:
    """Means and variances of every label of a structure.

    The variance of a functional with unit-amplitude row ``phi`` and prior variance ``k**`` is

        |R^-T b|^2 + (k** - |b|^2),   b = D L^-1 phi,

    its parameter part and the part the inducing environments cannot represent (Quinonero-Candela and Rasmussen, JMLR 6,
    1939 (2005), eq. 20); that of a label holds its misfit too (:mod:`kernpot.calibration.misfit`).

    Parameters
    ----------
    fitted : FittedGP
    """

    def __init__(self, fitted: FittedGP) -> None:
        self._fitted, self.mean = fitted, fitted.mean
        self._descriptors, self._whitening, self._posterior = fitted.features, fitted.whitening, fitted.posterior
        self._amplitudes, self._answers = fitted.amplitudes, Answers(fitted.misfit)
        self._unseen = fitted.unseen_pairs

    def __call__(self, atoms: Atoms, covariance: bool = False) -> Prediction:
        """Prediction for one structure; ``covariance`` adds the joint covariance of energy, forces and stress."""
        structure = Structure(self._descriptors, atoms)
        mean = self.mean.potentials.of_described(structure)[0]
        found, atomic, whitened = self._found(structure, covariance)
        joint = None
        if covariance:
            joint = self._answers.joint(self._covariance(structure, torch.cat(whitened)), structure.numbers.numpy())
        return self._answers.of(atoms)(mean, found, atomic, joint)

    def labels(self, atoms: Atoms, kinds: Collection[str]) -> dict[str, tuple[Any, LabelVariances]]:
        """Means of a structure's labels and what their variances are made of, those of extensive labels per atom."""
        structure = Structure(self._descriptors, atoms)
        mean = self.mean.potentials.of_described(structure)[0]
        variances = self._found(structure, keep=False)[0]
        found = {
            kind: (getattr(mean, kind), variances[kind])
            for kind in kinds
            if kind in variances and getattr(mean, kind) is not None
        }
        return found | {kind: self._other(structure, kind) for kind in kinds if kind not in LABEL_KINDS}

    def other(self, atoms: Atoms, kind: str) -> Quantity:
        """A label of a kind beside energy, forces and stress (:mod:`kernpot.structures.kinds`)."""
        structure = Structure(self._descriptors, atoms)
        mean, variances = self._other(structure, kind)
        size = structure.n_atoms if KINDS[kind].extensive else 1
        return self._answers.of(atoms).label(kind, mean, variances, size)

    def energy_mean(self, atoms: Atoms) -> float:
        """Mean of the total energy alone, eV."""
        return float(self.mean.potentials.energies(atoms)[0])

    def energy(self, atoms: Atoms) -> tuple[float, float]:
        """Mean and standard deviation (misfit included) of the total energy alone, eV."""
        structure = Structure(self._descriptors, atoms)
        row, prior = energy_rows(structure, self._whitening.blocks)
        n = structure.n_atoms
        found = self._variances(self._whitening(row), prior, "the energy", n)
        energy = self._energy(found, n, self._force_variance(structure), self._unknown(structure))
        std = n * float(self._answers.of(atoms).std("energy", energy)[0])
        return float(self.mean.potentials.energies_of_described(structure)[0]), std

    def force_std(self, atoms: Atoms, share: Share | None, pairs: Pairs | None = None) -> FloatArray:
        """Standard deviations (n_atoms, 3) of forces; see :meth:`kernpot.potential.Potential.force_std`."""
        structure = Structure(self._descriptors, atoms, pairs)
        found = np.zeros((3, 3 * structure.n_atoms))
        mine = (0, 1) if share is None else (share.rank, share.size)
        for here, rows, prior in force_rows(structure, self._whitening.blocks, True, *mine):
            own = slice(3 * here.start, 3 * here.stop)
            found[:, own] = np.stack(self._variances(self._whitening(rows), prior, "a force component"))
        variances = Variances(*torch.from_numpy(found if share is None else share.total(found)))
        forces = self._forces(structure, variances, Surroundings.of(structure), self._unknown(structure))
        return self._answers.of(atoms).std("forces", forces).reshape(-1, 3)

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
        found = Variances(*(torch.cat(v) for v in zip(*parts, strict=True)))
        return self._energies(found, None if self._unseen is None else self._unseen(numbers.numpy(), pairs, n_centres))

    def _unknown(self, structure: Structure) -> Unknown | None:
        return None if self._unseen is None else self._unseen(structure.numbers.numpy(), structure.pairs)

    def _unseen_variance(self, kind: str, found: Variances, unknown: Unknown | None, volume: float | None) -> Tensor:
        more = found.unrepresented * self._answers.ignorance(kind, found.unrepresented, found.prior)
        return more if unknown is None else more + unknown.variances(volume)[kind]

    def _energies(self, found: Variances, unknown: Unknown | None) -> LabelVariances:
        """Of the energies of atoms."""
        unseen = found.unrepresented * self._answers.ignorance("energy", found.unrepresented, found.prior)
        unseen = unseen if unknown is None else unseen + unknown.atomic_variances
        return LabelVariances(found.parameter, found.parameter, found.unrepresented, unseen)

    def _energy(self, found: Variances, n_atoms: int, of_forces: float, unknown: Unknown | None) -> LabelVariances:
        """Of the energy per atom, from those of the energy."""
        per_atom = Variances(*(v / n_atoms**2 for v in found))
        unseen = found.unrepresented * self._answers.ignorance("energy", per_atom.unrepresented, per_atom.prior)
        if unknown is not None:
            unseen = unseen + unknown.variances(None)["energy"]
        total = LabelVariances(found.parameter, found.parameter, found.unrepresented, unseen)
        return self._answers.per_atom(total, n_atoms, of_forces)

    def _forces(
        self, structure: Structure, found: Variances, around: Surroundings, unknown: Unknown | None
    ) -> LabelVariances:
        unseen = self._unseen_variance("forces", found, unknown, None)
        variances = LabelVariances(found.parameter, around.pool(found.parameter), found.unrepresented, unseen)
        return self._answers.of_elements(variances, structure.numbers.numpy())

    def _other(self, structure: Structure, kind: str) -> tuple[FloatArray, LabelVariances]:
        """Mean of a label of another kind, and its variances, both by its rows."""
        functional, size = functional_of(kind), structure.n_atoms if KINDS[kind].extensive else 1
        means, variances = [], []
        for _, rows, prior in functional.rows(structure, self._whitening.blocks):
            b = self._whitening(rows)
            means.append(self._posterior.mean(b * self._posterior.scale))
            variances.append(self._variances(b / size, prior / size**2, f"a label ({kind})"))
        parameter, unrepresented, _ = (torch.cat(v) for v in zip(*variances, strict=True))
        mean = torch.cat(means).numpy() + functional.fixed(structure.numbers.numpy(), self._fitted.isolated)
        around = pooled(kind, parameter, Surroundings.of(structure))
        found = mean.reshape(KINDS[kind].shape(structure.n_atoms))
        return found, LabelVariances(parameter, around, unrepresented)

    def _found(
        self, structure: Structure, keep: bool
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
        around, unknown = Surroundings.of(structure), self._unknown(structure)
        found = {
            "energy": self._energy(energy, n, float(forces.parameter.mean()), unknown),
            "forces": self._forces(structure, forces, around, unknown),
        }
        if structure.volume is not None:
            rows, prior = stress_rows(structure, blocks)
            whitened.append(self._whitening(rows))
            stress = self._variances(whitened[-1], prior, "a stress component", (n / structure.volume) ** 2)
            unseen = self._unseen_variance("stress", stress, unknown, structure.volume)
            pool = pooled("stress", stress.parameter, around)
            found["stress"] = LabelVariances(stress.parameter, pool, stress.unrepresented, unseen)
        return found, self._energies(energies, unknown), whitened

    def _force_variance(self, structure: Structure) -> float:
        """Mean parameter variance of the force components, where the misfit of energies asks for it."""
        if not self._answers.energies_ask_forces:
            return 0.0
        parts = [
            self._posterior.variance(self._whitening(rows) * self._posterior.scale)
            for _, rows, _ in force_rows(structure, self._whitening.blocks, with_prior=False)
        ]
        return float(torch.cat(parts).mean())

    def _variances(self, whitened: Tensor, prior: Tensor, what: str, unit: float = 1.0) -> Variances:
        """Epistemic variances from whitened unit-amplitude rows (n, M) and prior variances (n, n_blocks)."""
        represented = torch.zeros_like(prior).index_add_(1, self._whitening.block, whitened.square())
        unrepresented = nonnegative(prior - represented, prior, what, unit)
        parameter = self._posterior.variance(whitened * self._posterior.scale)
        squares = self._amplitudes.square()
        return Variances(parameter, unrepresented @ squares, prior @ squares)

    def _covariance(self, structure: Structure, whitened: Tensor) -> Covariances:
        """Joint covariances of energy, forces and stress."""
        parameter = self._posterior.covariance(whitened * self._posterior.scale)
        unrepresented, whole = torch.zeros_like(parameter), torch.zeros(len(parameter), dtype=torch.float64)
        for b, block in enumerate(self._whitening.blocks):
            described = structure.described[block.descriptor]
            prior = joint_prior(described, block.element, block.function, structure.volume)
            part = whitened[:, block.columns]
            unrepresented += self._amplitudes[b] ** 2 * (prior - part @ part.T)
            whole += self._amplitudes[b] ** 2 * prior.diagonal()
        n, own = structure.n_atoms, unrepresented.diagonal()
        slices = {"energy": slice(0, 1), "forces": slice(1, 1 + 3 * n), "stress": slice(1 + 3 * n, len(whole))}
        units = {"energy": n**2}
        times = [
            self._answers.ignorance(kind, own[here] / units.get(kind, 1), whole[here] / units.get(kind, 1))
            for kind, here in slices.items()
        ]
        root = (1 + torch.cat(times)).sqrt()
        unseen = (torch.outer(root, root) - 1) * unrepresented
        unknown = self._unknown(structure)
        if unknown is not None:
            unseen += unknown.joint(structure.volume)
        return Covariances(parameter + unrepresented, parameter, unseen)


def predictor_of(fitted: FittedGP) -> Predictor:
    """The predictor of a fitted model; ask for it by ``fitted.once(predictor_of)``."""
    return Predictor(fitted)

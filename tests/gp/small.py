"""A small fitted potential of two elements, nothing optimised, with its posterior and evidence by dense matrices.

Inducing environments are different enough for normal equations to be accurate.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from ase import Atoms
from scipy.stats import multivariate_normal

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.calibration.misfit import Misfit
from kernpot.functionals.rows import energy_rows, force_rows, stress_rows
from kernpot.functionals.state import Structure
from kernpot.gp.fitted import FittedGP
from kernpot.gp.rows.maker import RowMaker
from kernpot.structures.labels import label_structures
from tests.helpers.changed import changed
from tests.helpers.systems import crystals, gases, soap

NOISE = {"energy": 0.01, "forces": 0.1, "stress": 0.01}
ISOLATED = {29: 3.0, 79: 3.5}
MISFIT = {"energy": Misfit(0.003, 1.2, reach=0.2), "forces": Misfit(0.02, 1.5, 6.0), "stress": Misfit(0.001, 0.8)}


def fitted(frames: list[Atoms] | None = None, **other: Any) -> SparseGPPotential:
    """Eight inducing environments, four of each element, and misfit of every kind."""
    frames = crystals(3, symbols="Cu2Au2") if frames is None else frames
    kernel = SOAPKernel(2, [29, 79])
    kernel.set_amplitude(torch.tensor([1.5, 0.8], dtype=torch.float64))
    settings = {
        "descriptor": soap(["Cu", "Au"], n_max=2, l_max=1),
        "inducing": gases(1, "Cu4Au4", seed=2),
        "kernel": kernel,
        "noise": NOISE,
        "optimize": False,
        "isolated_atoms": ISOLATED,
    }
    return changed(SparseGPPotential(**(settings | other)).fit(frames), misfit=MISFIT)


def rows_of(gp: FittedGP, atoms: Atoms) -> np.ndarray:
    """Rows (1 + 3 n (+ 6), M) of energy, forces and stress, times amplitudes squared, not whitened: covariances."""
    structure, blocks = Structure(gp.features, atoms), gp.whitening.blocks
    parts = [energy_rows(structure, blocks)[0], *(rows for _, rows, _ in force_rows(structure, blocks))]
    parts += [stress_rows(structure, blocks)[0]] if structure.volume is not None else []
    covariances: np.ndarray = (torch.cat(parts) * gp.amplitudes[gp.whitening.block].square()).numpy()
    return covariances


class Dense(NamedTuple):
    """Mean and covariance of the energies of the inducing environments, divided by their prior covariance."""

    weights: np.ndarray
    spread: np.ndarray
    prior: np.ndarray

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """Of labels less the energies of isolated atoms, from rows as of `rows_of`."""
        return rows @ self.weights

    def covariance(self, rows: np.ndarray, others: np.ndarray | None = None) -> np.ndarray:
        """Parameter covariance of labels."""
        return rows @ self.spread @ (rows if others is None else others).T

    def represented(self, rows: np.ndarray) -> np.ndarray:
        """What the inducing environments represent of the prior variances."""
        return np.einsum("nm,mn->n", rows, np.linalg.solve(self.prior, rows.T))


def dense(gp: FittedGP, frames: list[Atoms], noise: dict[str, float] | None = None) -> Dense:
    """Subset of regressors: ``S = (K_MM + sum k_M k_M^T / sigma^2)^-1``, weights ``S sum k_M y / sigma^2``."""
    noise, m = NOISE if noise is None else noise, gp.n_inducing
    prior = np.zeros((m, m))
    for b, block in enumerate(gp.whitening.blocks):
        u, own = block.environments.numpy(), block.columns
        covariance = block.function.value(torch.from_numpy(u @ u.T)).numpy() + gp.whitening.jitter[b] * np.eye(len(u))
        prior[own, own] = float(gp.amplitudes[b]) ** 2 * covariance
    precision, right = prior.copy(), np.zeros(m)
    for atoms in frames:
        n, results = len(atoms), atoms.calc.results
        free = results["energy"] - sum(gp.isolated[z] for z in atoms.numbers)
        y, sigma = [np.array([free]), results["forces"].ravel()], [[noise["energy"] * n], 3 * n * [noise["forces"]]]
        if atoms.pbc.all():
            y.append(results["stress"])
            sigma.append(6 * [noise["stress"]])
        rows = rows_of(gp, atoms) / np.concatenate(sigma)[:, None]
        precision += rows.T @ rows
        right += rows.T @ (np.concatenate(y) / np.concatenate(sigma))
    spread = np.linalg.inv(precision)
    return Dense(spread @ right, spread, prior)


def bound(maker: RowMaker, frames: list[Atoms], amplitudes: np.ndarray, noise: dict[str, float]) -> float:
    """Titsias' bound of the log evidence with matrices of all labels, ``log N(y; 0, B B^T + S) - tr(K - B B^T) / 2 S``.

    Labels are per unit of their own scale of noise, energies per atom.
    """
    blocks, columns = range(len(amplitudes)), maker.whitening.block.numpy()
    rows, y, variances, missing = [], [], [], 0.0
    for s in label_structures(frames):
        for part in maker(s, Structure(maker.descriptors, s.atoms)):
            b, sigma = part.rows.numpy(), noise[part.group]
            represented = np.stack([(b[:, columns == z] ** 2).sum(1) for z in blocks], 1)
            missing += float(((part.prior.numpy() - represented) @ amplitudes**2).sum()) / sigma**2
            rows.append(b * amplitudes[columns])
            y.append(part.targets.numpy())
            variances.append(np.full(len(b), sigma**2))
    stacked = np.concatenate(rows)
    covariance = stacked @ stacked.T + np.diag(np.concatenate(variances))
    return float(multivariate_normal(cov=covariance).logpdf(np.concatenate(y))) - 0.5 * missing

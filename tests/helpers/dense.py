"""A dense Gaussian process on the same kernel, written independently: no rows, no inducing environments, no QR.

Every label is a linear functional of atomic energies weighted by ``w`` at displacements ``t``: atomic energies are the
derivatives by ``w`` at ``w = 1``, forces and stress those by ``t`` at ``t = 0``. So all covariances are second
derivatives of ``sum_ij w_i w'_j k(p_i(t), p_j(t'))``, taken by torch's automatic differentiation of
``SOAPKernel.forward``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.descriptors import SOAPFeatures
from kernpot.kernels import SOAPKernel

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
KINDS = ("energy", "energies", "forces", "stress")


class Functionals:
    """A structure's features, their tangents, and its labels as combinations of the derivatives above."""

    def __init__(self, atoms: Atoms, descriptors: Sequence[SOAPFeatures], kinds: Sequence[str]) -> None:
        n = len(atoms)
        self.numbers = torch.from_numpy(atoms.numbers.astype(float))[:, None]
        self.values = [torch.from_numpy(f(atoms)) for f in descriptors]
        self.tangents = [torch.from_numpy(_tangents(f, atoms)) for f in descriptors]
        size = n + len(self.tangents[0])
        parts = {
            "energy": (np.arange(size) < n)[None, :].astype(float),
            "energies": np.eye(size)[:n],
            "forces": -np.eye(size)[n : 4 * n],
            "stress": np.eye(size)[4 * n :] / (atoms.get_volume() if all(atoms.pbc) else 1.0),
        }
        self.combine = torch.from_numpy(np.concatenate([parts[kind] for kind in kinds]))

    def covariance(self, other: Functionals, kernels: Sequence[SOAPKernel]) -> Tensor:
        n, m = len(self.numbers), len(other.numbers)

        def total(x: Tensor, y: Tensor) -> Tensor:
            out = x.new_zeros(())
            for d, kernel in enumerate(kernels):
                a = self.values[d] + torch.einsum("k,knf->nf", x[n:], self.tangents[d])
                b = other.values[d] + torch.einsum("k,knf->nf", y[m:], other.tangents[d])
                k = kernel.forward(torch.cat([self.numbers, a], 1), torch.cat([other.numbers, b], 1))
                out = out + x[:n] @ k @ y[:m]
            return out

        x = torch.cat([torch.ones(n), torch.zeros(len(self.tangents[0]))]).double()
        y = torch.cat([torch.ones(m), torch.zeros(len(other.tangents[0]))]).double()
        mixed = torch.func.jacrev(torch.func.jacrev(total, 0), 1)(x, y)
        return (self.combine @ mixed @ other.combine.T).detach()


class DenseGP:
    """Exact Gaussian conditioning on all labels of some structures.

    Parameters
    ----------
    structures : list of Atoms with labels
    descriptors, kernels
        As of a fitted estimator.
    noise : dict
        Standard deviations per kind; energies per atom.
    isolated : dict
        Isolated-atom energies.
    kinds : label kinds to learn from
    """

    def __init__(
        self,
        structures: Sequence[Atoms],
        descriptors: Sequence[SOAPFeatures],
        kernels: Sequence[SOAPKernel],
        noise: dict[str, float],
        isolated: dict[int, float],
        kinds: Sequence[str] = ("energy", "forces", "stress"),
    ) -> None:
        self.descriptors, self.kernels, self.isolated = descriptors, kernels, isolated
        targets, variances, scales = [], [], []
        self.learnt = [Functionals(a, descriptors, self._present(a, kinds)) for a in structures]
        for atoms in structures:
            for kind in self._present(atoms, kinds):
                label = np.ravel(atoms.calc.results[kind]).astype(float)
                scale = atoms.info.get("noise_scale", 1.0) * (len(atoms) if kind == "energy" else 1)
                targets.append(label - (self._offset(atoms) if kind == "energy" else 0.0))
                variances.append(np.full(len(label), (noise[kind] * scale) ** 2))
                scales.append(np.full(len(label), scale))
        self.y = torch.from_numpy(np.concatenate(targets))
        self.log_scales = float(np.log(np.concatenate(scales)).sum())
        prior = self._between(self.learnt, self.learnt)
        self.root = torch.linalg.cholesky(prior + torch.diag(torch.from_numpy(np.concatenate(variances))))

    def log_marginal_likelihood(self) -> float:
        """Log density of the labels in units of their noise scale, energies per atom."""
        gaussian = torch.distributions.MultivariateNormal(torch.zeros_like(self.y), scale_tril=self.root)
        return float(gaussian.log_prob(self.y)) + self.log_scales

    def __call__(self, atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
        """Mean and epistemic covariance of [energy, energies, forces, stress (if periodic)]."""
        kinds = KINDS if all(atoms.pbc) else KINDS[:3]
        new = [Functionals(atoms, self.descriptors, kinds)]
        cross = self._between(self.learnt, new)
        half = torch.linalg.solve_triangular(self.root, cross, upper=False)
        whitened = torch.linalg.solve_triangular(self.root, self.y[:, None], upper=False)[:, 0]
        mean = (half.T @ whitened).numpy()
        mean[0] += self._offset(atoms)
        mean[1 : 1 + len(atoms)] += [self.isolated[int(z)] for z in atoms.numbers]
        return mean, (self._between(new, new) - half.T @ half).numpy()

    def _present(self, atoms: Atoms, kinds: Sequence[str]) -> list[str]:
        return [kind for kind in kinds if kind in atoms.calc.results]

    def _offset(self, atoms: Atoms) -> float:
        return sum(self.isolated[int(z)] for z in atoms.numbers)

    def _between(self, left: Sequence[Functionals], right: Sequence[Functionals]) -> Tensor:
        return torch.cat([torch.cat([a.covariance(b, self.kernels) for b in right], 1) for a in left])


def _tangents(features: SOAPFeatures, atoms: Atoms) -> np.ndarray:
    """Derivatives of the features by 3 n positions and, in three periodic directions, 6 strains: (k, n, n_features)."""
    n = len(atoms)
    out = [features.jvp(atoms, positions=move.reshape(n, 3)) for move in np.eye(3 * n)]
    for a, b in VOIGT if all(atoms.pbc) else ():
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5
        strain[b, a] += 0.5
        out.append(features.jvp(atoms, strain=strain))
    return np.array(out)

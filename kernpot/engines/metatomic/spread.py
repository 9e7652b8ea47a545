"""Standard deviations of sums of atomic energies over calibrated draws, in operations that TorchScript knows."""

# No `from __future__ import annotations`: TorchScript reads annotations as objects.

import torch
from torch import Tensor

from kernpot.engines.metatomic.energies import AtomicEnergies
from kernpot.errors import KernpotError
from kernpot.functionals.state import InducingBlock
from kernpot.surfaces.variances import KernelVariance, TermVariance


class InducingRows(torch.nn.Module):
    """Whitened rows of environments of one inducing block, and prior variances of their sums."""

    environments: Tensor
    factor: Tensor
    basis: Tensor

    def __init__(self, block: InducingBlock, factor: Tensor, amplitude: float) -> None:
        super().__init__()
        if block.function.power is None:
            raise KernpotError(
                f"expected kernels that are powers of the cosine, got {block.function!r}: others are not written for "
                "TorchScript. Drive the engine through ASE, LAMMPS or i-PI with kernpot installed."
            )
        self.descriptor, self.element, self.zeta = block.descriptor, block.element, block.function.power
        self.amplitude, self.has_basis = amplitude, block.basis is not None
        self.register_buffer("environments", block.environments.clone())
        self.register_buffer("factor", factor.clone())
        self.register_buffer("basis", factor.new_zeros(0) if block.basis is None else block.basis.clone())

    def rows(self, u: Tensor) -> Tensor:
        """Rows (n, m) of unit amplitude."""
        v = u
        if self.has_basis:
            v = u @ self.basis
        return (v @ self.environments.T) ** self.zeta

    def whitened(self, rows: Tensor) -> Tensor:
        """Whitened rows (n, m), in eV."""
        return torch.linalg.solve_triangular(self.factor, rows.T, upper=False).T * self.amplitude

    def prior(self, u: Tensor) -> Tensor:
        """Prior variance of the sum of the energies of environments (n, n_features), eV^2."""
        total = torch.zeros([], dtype=u.dtype, device=u.device)
        if self.zeta == 1:
            total = u.sum(0).square().sum()
        elif self.zeta == 2 and u.shape[0] > u.shape[1]:
            total = (u.T @ u).square().sum()
        else:
            for part in torch.split(u, 1024):  # bounds what is in memory
                total = total + ((part @ u.T) ** self.zeta).sum()
        return self.amplitude**2 * total


class KernelSpread(torch.nn.Module):
    """Variances of a sparse Gaussian process, see :mod:`kernpot.gp.predicting.energy_std`.

    Parameters
    ----------
    variance : KernelVariance
    """

    root: Tensor

    def __init__(self, variance: KernelVariance) -> None:
        super().__init__()
        self.scale = variance.scale
        self.blocks = torch.nn.ModuleList(
            InducingRows(*parts) for parts in zip(variance.blocks, variance.factors, variance.amplitudes, strict=True)
        )
        self.register_buffer("root", variance.root.clone())

    def forward(self, features: list[Tensor], numbers: Tensor, owner: Tensor, n_owners: int) -> Tensor:
        """Variances (n_owners,) of the sums of the energies of the environments that every owner has, eV^2.

        Parameters
        ----------
        features : list of Tensor of shape (n, n_features)
            Unit features under every descriptor.
        numbers : Tensor of shape (n,)
        owner : Tensor of shape (n,), int64
            Ascending.
        n_owners : int
        """
        rows: list[Tensor] = []
        unrepresented = torch.zeros(n_owners, dtype=features[0].dtype, device=numbers.device)
        for block in self.blocks:
            here = numbers == block.element
            u, of = features[block.descriptor][here], owner[here]
            own: Tensor = block.rows(u)
            summed = torch.zeros((n_owners, own.shape[1]), dtype=own.dtype, device=own.device).index_add(0, of, own)
            b: Tensor = block.whitened(summed)
            priors: list[Tensor] = []
            ends = torch.cumsum(torch.bincount(of, minlength=n_owners), 0)
            first = 0
            for k in range(n_owners):
                last = int(ends[k])
                prior: Tensor = block.prior(u[first:last])
                priors.append(prior)
                first = last
            unrepresented = unrepresented + torch.stack(priors) - b.square().sum(1)
            rows.append(b)
        half = torch.linalg.solve_triangular(self.root.T, torch.cat(rows, 1).T, upper=False)
        return self.scale**2 * half.square().sum(0) + unrepresented.clamp(min=0.0)


class CommitteeSpread(torch.nn.Module):
    """Variances that are sums of squares of deviations from the mean.

    Parameters
    ----------
    variance : TermVariance
    """

    def __init__(self, variance: TermVariance) -> None:
        super().__init__()
        self.scale = variance.scale
        self.deviations = AtomicEnergies(variance.terms)

    def forward(self, features: list[Tensor], numbers: Tensor, owner: Tensor, n_owners: int) -> Tensor:
        """Variances (n_owners,), see :class:`KernelSpread`."""
        d: Tensor = self.deviations(features, numbers)
        summed = torch.zeros((n_owners, d.shape[1]), dtype=d.dtype, device=d.device).index_add(0, owner, d)
        return self.scale**2 * summed.square().sum(1)

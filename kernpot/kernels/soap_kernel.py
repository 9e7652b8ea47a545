"""The kernel between atomic environments: a power of the cosine between their features."""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Sequence

import gpytorch
import torch
from gpytorch.constraints import Positive
from gpytorch.priors import Prior
from torch import Tensor

from kernpot.errors import KernpotError


# A function rather than a lambda: estimators that hold the kernel are pickled by parallel grid searches.
def _get_amplitude(kernel: SOAPKernel) -> Tensor:
    return kernel.amplitude


class SOAPKernel(gpytorch.kernels.Kernel):
    r"""Dot-product kernel between environments of atoms of the same element.

    .. math:: k(i, j) = \delta_{z_i z_j} \, a_{z_i}^2 \, (\hat u_i \cdot \hat u_j)^\zeta

    with unit-normalised features (Bartok, Kondor, Csanyi, Phys. Rev. B 87, 184115 (2013), eq. 36).

    Parameters
    ----------
    zeta : int, default=2
        Positive integer power. For 2 the posterior mean of an atom's energy is a quadratic form of its features.
    elements : sequence of int, optional
        Atomic numbers; one amplitude each. None lets the estimator fill in the elements it meets.
    amplitude : float, default=1.0
        Start value of the amplitudes in eV. ``kernel.raw_amplitude.requires_grad_(False)`` keeps them fixed.
    amplitude_prior : gpytorch.priors.Prior, optional
        Prior on the amplitudes, added to the evidence.

    Raises
    ------
    KernpotError
        For a zeta that is not a positive integer, an amplitude that is not positive and finite, and elements that are
        empty or repeated.

    Notes
    -----
    ``forward`` takes rows ``[atomic number, features...]``, of shape (..., n, 1 + n_features).
    """

    def __init__(
        self,
        zeta: int = 2,
        elements: Sequence[int] | None = None,
        amplitude: float = 1.0,
        amplitude_prior: Prior | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(zeta, numbers.Real) or zeta < 1 or zeta % 1 != 0:
            raise KernpotError(f"zeta must be a positive integer, got {zeta!r}.")
        if not (amplitude > 0 and math.isfinite(amplitude)):
            raise KernpotError(f"amplitude must be a positive energy in eV, got {amplitude!r}.")
        self.zeta: int = int(zeta)
        self.elements: tuple[int, ...] | None = None if elements is None else _distinct(elements)
        n = 1 if self.elements is None else len(self.elements)
        self.register_parameter("raw_amplitude", torch.nn.Parameter(torch.zeros(n, dtype=torch.float64)))
        self.register_constraint("raw_amplitude", Positive(transform=torch.exp, inv_transform=torch.log))
        if amplitude_prior is not None:
            self.register_prior("amplitude_prior", amplitude_prior, _get_amplitude, SOAPKernel.set_amplitude)
        self.set_amplitude(torch.full((n,), float(amplitude), dtype=torch.float64))

    @property
    def amplitude(self) -> Tensor:
        """Amplitudes ``a_z`` in eV, one per element, in the order of ``elements``."""
        return self.raw_amplitude_constraint.transform(self.raw_amplitude)

    def set_amplitude(self, value: Tensor) -> None:
        """Set the amplitudes (eV)."""
        value = torch.as_tensor(value, dtype=torch.float64).expand(self.raw_amplitude.shape)
        self.initialize(raw_amplitude=self.raw_amplitude_constraint.inverse_transform(value))

    def for_elements(self, elements: Sequence[int]) -> SOAPKernel:
        """A copy with one amplitude per given element; amplitudes of elements already known are kept."""
        known = {} if self.elements is None else dict(zip(self.elements, self.amplitude.tolist(), strict=True))
        start = float(self.amplitude.detach().mean())
        new = copy.deepcopy(self)
        new.elements = _distinct(elements)
        fixed = not self.raw_amplitude.requires_grad
        values = torch.tensor([known.get(z, start) for z in new.elements], dtype=torch.float64)
        new.raw_amplitude = torch.nn.Parameter(torch.zeros(len(values), dtype=torch.float64), requires_grad=not fixed)
        new.set_amplitude(values)
        return new

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: object) -> Tensor:  # noqa: ARG002
        """Covariance in eV^2 between environments; see the class notes for the rows."""
        if self.elements is None:
            raise KernpotError("the kernel does not know its elements: use kernel.for_elements([...]) first.")
        z1, z2 = x1[..., 0], x2[..., 0]
        u1, u2 = (torch.nn.functional.normalize(x[..., 1:], dim=-1) for x in (x1, x2))
        variance = sum(
            (z1 == z).to(u1.dtype) * amplitude**2 for z, amplitude in zip(self.elements, self.amplitude, strict=True)
        )
        if diag:
            return variance * (z1 == z2) * (u1 * u2).sum(-1) ** self.zeta
        same = z1[..., :, None] == z2[..., None, :]
        return variance[..., :, None] * same * (u1 @ u2.transpose(-1, -2)) ** self.zeta


def _distinct(elements: Sequence[int]) -> tuple[int, ...]:
    distinct = tuple(int(z) for z in elements)
    if not distinct or len(set(distinct)) < len(distinct):
        raise KernpotError(f"expected one or more different atomic numbers, got {list(elements)!r}.")
    return distinct

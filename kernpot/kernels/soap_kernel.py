"""The kernel of SOAP: a power of the cosine between environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpytorch.priors import Prior

from kernpot.errors import KernpotError
from kernpot.kernels.cosine_kernel import CosineKernel
from kernpot.kernels.functions import Power
from kernpot.kernels.powers import LARGEST, is_power


class SOAPKernel(CosineKernel):
    r"""Dot-product kernel between environments of atoms of the same element.

    .. math:: k(i, j) = \delta_{z_i z_j} \, a_{z_i}^2 \, (\hat u_i \cdot \hat u_j)^\zeta

    with unit-normalised features (Bartok, Kondor, Csanyi, Phys. Rev. B 87, 184115 (2013), eq. 36).

    Parameters
    ----------
    zeta : int, default=2
        Positive integer power, at most 100. For 2 the posterior mean of an atom's energy is a quadratic form of its
        features.
    elements : sequence of int, optional
        Atomic numbers; one amplitude each. None lets the estimator fill in the elements it meets.
    amplitude : float, default=1.0
        Start value of the amplitudes in eV. ``kernel.raw_amplitude.requires_grad_(False)`` keeps them fixed.
    amplitude_prior : gpytorch.priors.Prior, optional
        Prior on the amplitudes, added to the evidence.

    Raises
    ------
    KernpotError
        For a zeta that is no integer from 1 to 100, an amplitude that is not positive and finite, and elements that are
        empty or repeated.

    Notes
    -----
    ``forward`` takes rows ``[atomic number, features...]``, of shape (..., n, 1 + n_features).
    """

    kind = "soap"

    def __init__(
        self,
        zeta: int = 2,
        elements: Sequence[int] | None = None,
        amplitude: float = 1.0,
        amplitude_prior: Prior | None = None,
    ) -> None:
        if not is_power(zeta):
            raise KernpotError(f"zeta must be a positive integer, at most {LARGEST}, got {zeta!r}.")
        super().__init__([Power(int(zeta))], elements, amplitude, amplitude_prior)
        self.zeta: int = int(zeta)

    @property
    def parameters_given(self) -> Mapping[str, Any]:
        """The power."""
        return {"zeta": self.zeta}

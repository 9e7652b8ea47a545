"""Sums of powers of the cosine, each with amplitudes of its own: several body orders in one kernel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpytorch.priors import Prior

from kernpot.errors import KernpotError
from kernpot.kernels.cosine_kernel import CosineKernel
from kernpot.kernels.functions import Power
from kernpot.kernels.powers import LARGEST, is_power


class PolynomialKernel(CosineKernel):
    r"""Sum of powers of the cosine between environments of atoms of the same element.

    .. math:: k(i, j) = \delta_{z_i z_j} \sum_p a_{p z_i}^2 \, (\hat u_i \cdot \hat u_j)^p

    A power spectrum to the power ``p`` holds correlations of up to ``2 p + 1`` bodies, so the amplitudes say how much
    of the energy is of which order; the evidence finds them. Inducing environments are shared out over the powers.

    Parameters
    ----------
    powers : sequence of int, default=(1, 2)
        Different positive integers, at most 100.
    elements, amplitude, amplitude_prior
        As of :class:`kernpot.SOAPKernel`; ``amplitude`` starts all of them.

    Raises
    ------
    KernpotError
        For powers that are no different integers from 1 to 100.
    """

    kind = "polynomial"

    def __init__(
        self,
        powers: Sequence[int] = (1, 2),
        elements: Sequence[int] | None = None,
        amplitude: float = 1.0,
        amplitude_prior: Prior | None = None,
    ) -> None:
        listed = isinstance(powers, Iterable) and not isinstance(powers, str)
        given = list(powers) if listed else []
        if not given or not all(is_power(p) for p in given) or len(set(given)) < len(given):
            raise KernpotError(
                f"powers must be different positive integers such as (1, 2), at most {LARGEST}, got {powers!r}."
            )
        self.powers: tuple[int, ...] = tuple(int(p) for p in given)
        super().__init__([Power(p) for p in self.powers], elements, amplitude, amplitude_prior)

    @property
    def parameters_given(self) -> Mapping[str, Any]:
        """The powers."""
        return {"powers": list(self.powers)}

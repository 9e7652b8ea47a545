"""Amplitudes of the kernels, in the order of the inducing blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kernpot.functionals.state import InducingBlock
from kernpot.kernels import SOAPKernel
from kernpot.regression.evidence import LogPrior


class Hyperparameters:
    """Amplitudes of the kernels, in the order of the inducing blocks.

    Parameters
    ----------
    blocks : sequence of InducingBlock
    kernels : sequence of SOAPKernel
        One per descriptor; their parameters are read and set.
    """

    def __init__(self, blocks: Sequence[InducingBlock], kernels: Sequence[SOAPKernel]) -> None:
        self._kernels = list(kernels)
        self._at = [(b.descriptor, (kernels[b.descriptor].elements or ()).index(b.element)) for b in blocks]

    def amplitudes(self) -> Tensor:
        """Amplitude of every block, eV."""
        return torch.stack([self._kernels[d].amplitude.detach()[k] for d, k in self._at])

    def set_amplitudes(self, values: Tensor) -> None:
        """Write the amplitudes into the kernels."""
        for d, kernel in enumerate(self._kernels):
            current = kernel.amplitude.detach().clone()
            for (owner, k), value in zip(self._at, values, strict=True):
                if owner == d:
                    current[k] = value
            kernel.set_amplitude(current)

    def fixed(self) -> Tensor:
        """Which amplitudes the user fixed (``kernel.raw_amplitude.requires_grad_(False)``)."""
        return torch.tensor([not self._kernels[d].raw_amplitude.requires_grad for d, _ in self._at])

    def log_prior(self) -> LogPrior | None:
        """Log density of the kernels' amplitude priors, or None when there are none."""
        priors = [(d, k.amplitude_prior) for d, k in enumerate(self._kernels) if hasattr(k, "amplitude_prior")]
        if not priors:
            return None

        def log_prior(_: Mapping[str, Tensor], amplitudes: Tensor) -> Tensor:
            total = amplitudes.new_zeros(())
            for d, prior in priors:
                own = torch.stack([a for (owner, _), a in zip(self._at, amplitudes, strict=True) if owner == d])
                total = total + prior.log_prob(own).sum()
            return total

        return log_prior

"""Amplitudes of the kernels, in the order of the inducing blocks."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kernpot.functionals.state import InducingBlock
from kernpot.kernels import CosineKernel
from kernpot.regression.evidence import LogPrior

# Standard deviation of the logarithms of the amplitudes of elements about their mean, before any label. An element that
# is seen rarely, or only alone, asks for next to no amplitude, for its few labels are met without; the others say what
# is usual. Where an element has many labels it does not matter: they weigh hundreds of times as much.
_SPREAD = 1.0


class Amplitudes:
    """Where the amplitude of every inducing block stands among those of the kernels.

    Parameters
    ----------
    blocks : sequence of InducingBlock
    kernels : sequence of CosineKernel
        One per descriptor; they are read, never changed.
    """

    def __init__(self, blocks: Sequence[InducingBlock], kernels: Sequence[CosineKernel]) -> None:
        self._kernels = list(kernels)
        # Kernel, and place of the amplitude among all of its own.
        sizes = [len(k.elements or ()) for k in kernels]
        self._at = [
            (b.descriptor, b.term * sizes[b.descriptor] + (kernels[b.descriptor].elements or ()).index(b.element))
            for b in blocks
        ]

    def values(self) -> Tensor:
        """Amplitude of every block, eV."""
        return self.among(self._kernels)

    def among(self, kernels: Sequence[CosineKernel]) -> Tensor:
        """Amplitude of every block, eV, of other kernels of the same kind."""
        return torch.stack([kernels[d].amplitude.detach().flatten()[k] for d, k in self._at])

    def changed(self, values: Tensor) -> list[CosineKernel]:
        """Copies of the kernels with other amplitudes."""
        out = []
        for d, kernel in enumerate(self._kernels):
            current = kernel.amplitude.detach().flatten().clone()
            for (owner, k), value in zip(self._at, values, strict=True):
                if owner == d:
                    current[k] = value
            new = copy.deepcopy(kernel)
            new.set_amplitude(current.view(kernel.amplitude.shape))
            out.append(new)
        return out

    def fixed(self) -> Tensor:
        """Which amplitudes the user fixed (``kernel.raw_amplitude.requires_grad_(False)``)."""
        return torch.tensor([not self._kernels[d].raw_amplitude.requires_grad for d, _ in self._at])

    def log_prior(self) -> LogPrior | None:
        """Log density of amplitudes: the kernels' own priors, and of others that elements are alike.

        None where there is neither.
        """
        own = [(d, k.amplitude_prior) for d, k in enumerate(self._kernels) if hasattr(k, "amplitude_prior")]
        alike = self._alike({d for d, _ in own})
        if not own and not alike:
            return None

        def log_prior(_: Mapping[str, Tensor], amplitudes: Tensor) -> Tensor:
            total = amplitudes.new_zeros(())
            for d, prior in own:
                its = torch.stack([a for (owner, _), a in zip(self._at, amplitudes, strict=True) if owner == d])
                total = total + prior.log_prob(its).sum()
            for members in alike:
                logs = amplitudes[members].log()
                total = total - 0.5 * ((logs - logs.mean()) / _SPREAD).square().sum()
            return total

        return log_prior

    def _alike(self, with_prior: set[int]) -> list[list[int]]:
        """Blocks of each function of each kernel that has no prior of its own, where there are several elements."""
        groups: dict[tuple[int, int], list[int]] = {}
        for b, (d, k) in enumerate(self._at):
            kernel = self._kernels[d]
            if d not in with_prior and kernel.raw_amplitude.requires_grad:
                groups.setdefault((d, k // len(kernel.elements or (0,))), []).append(b)
        return [members for members in groups.values() if len(members) > 1]

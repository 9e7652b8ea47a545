"""Bridge between gpytorch kernels and the evidence: amplitudes per inducing block, noise levels per group."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from kernpot.errors import KernpotWarning
from kernpot.functionals.state import InducingBlock
from kernpot.gp.evidence import LogPrior
from kernpot.gp.factor import LabelFactor
from kernpot.gp.misfit import Misfit
from kernpot.kernels import SOAPKernel
from kernpot.structures.labels import LABEL_KINDS, LabelledStructure
from kernpot.structures.noise import NoiseModel

# Where optimisation starts: this part of the labels' spread, no lower than the floor (eV/atom, eV/A, eV/A^3).
_START_PART = 0.05
_START_FLOOR = {"energy": 1e-3, "forces": 1e-2, "stress": 1e-4}
# Misfit taken for a kind of label the model has never seen.
UNSEEN = {"energy": 0.01, "forces": 0.1, "stress": 0.005}


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


def starting_noise(
    labelled: Sequence[LabelledStructure], noise: NoiseModel, isolated: Mapping[int, float]
) -> dict[str, float]:
    """Noise of every group present: the user's, else 5 % of the spread of its labels."""
    values: dict[str, list[float]] = {}
    for s in labelled:
        for kind in s.kinds:
            if kind == "energy" and s.energy is not None:
                n = len(s.atoms)
                found = [(s.energy - sum(isolated[int(z)] for z in s.atoms.numbers)) / n]
            else:
                found = np.ravel(getattr(s, kind)).tolist()
            values.setdefault(noise.group(s, kind), []).extend(found)
    fixed = noise.fixed
    out = {}
    for group, found in values.items():
        kind = kind_of(group)
        spread = np.std(found) if kind == "energy" else np.sqrt(np.mean(np.square(found)))
        out[group] = fixed.get(group, max(_START_PART * float(spread), _START_FLOOR[kind]))
    return out


def kind_of(group: str) -> str:
    """Label kind of a noise group: ``"forces"`` of ``"forces[Surface]"``."""
    return group.split("[")[0]


def misfit_of(noise: Mapping[str, float], factors: Mapping[str, LabelFactor]) -> dict[str, Misfit]:
    """Misfit per label kind for structures to come: the noise of the kind, averaged over groups that have their own.

    A kind without labels gets a stated guess (see :func:`warn_unseen`).
    """
    out = {}
    for kind in LABEL_KINDS:
        groups = [g for g in factors if kind_of(g) == kind]
        if kind in groups:
            out[kind] = Misfit(float(noise[kind]))
        elif groups:
            weights = np.array([factors[g].n_rows for g in groups], dtype=float)
            out[kind] = Misfit(float(np.sqrt(np.average([noise[g] ** 2 for g in groups], weights=weights))))
        else:
            out[kind] = Misfit(UNSEEN[kind])
    return out


def warn_unseen(labelled: Sequence[LabelledStructure]) -> None:
    """Warn when forces, or the stress of periodic structures, will have error bars that rest on a guess."""
    missing = []
    if all(s.forces is None for s in labelled):
        missing.append(("forces", "eV/A"))
    if all(s.stress is None for s in labelled) and any(all(s.atoms.pbc) for s in labelled):
        missing.append(("stress", "eV/A^3"))
    for kind, unit in missing:
        warnings.warn(
            f"no structure has {kind} labels, so their misfit is unknown; the std of predicted {kind} takes "
            f"{UNSEEN[kind]} {unit} for it.",
            KernpotWarning,
            stacklevel=3,
        )

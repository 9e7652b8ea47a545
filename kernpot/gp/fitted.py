"""What a fit knows: one frozen object, from which every answer follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from kernpot.calibration.misfit import Misfit, draw_scale
from kernpot.calibration.spread import Growth
from kernpot.calibration.unseen_pairs import UnseenPairs
from kernpot.descriptors.features import Features
from kernpot.gp.amplitudes import Amplitudes
from kernpot.gp.rows.maker import RowMaker
from kernpot.gp.rows.whitening import Whitening
from kernpot.kernels import CosineKernel
from kernpot.regression.evidence import Evidence
from kernpot.regression.factor import LabelFactor
from kernpot.regression.posterior import Posterior
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import NoiseModel, kind_of
from kernpot.surfaces.potentials import MeanPotential

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class SharedDraws:
    """A fixed set of draws whose scatter makes error bars at about the cost of the mean.

    Attributes
    ----------
    source : FittedGP
        What they are drawn from: a Gaussian process of the same labels on coarse features, its misfit that of the
        errors of the model itself against the scatter of so many draws.
    n : int
        How many.
    seed : int
    scale : float
        Factor on the parameter part of the draws, as that of calibrated draws.
    growth : Growth, optional
        What their variances grow by away from data, as those of the model itself do.
    """

    source: FittedGP
    n: int
    seed: int
    scale: float
    growth: Growth | None = None


@dataclass(frozen=True, eq=False)
class FittedGP:
    """A sparse Gaussian process after a fit. Nothing in it changes: learning more makes another one.

    Attributes
    ----------
    features : tuple of Features
        Descriptors.
    kernels : tuple of CosineKernel
        One per descriptor, with the amplitudes found.
    whitening : Whitening
        Of the inducing environments.
    noise_model : NoiseModel
        Which labels share a noise level.
    isolated : dict of int to float
        Isolated-atom energies, eV.
    elements : tuple of int
        Atomic numbers seen in training.
    factors : dict of str to LabelFactor
        Compressed labels per noise group.
    noise : dict of str to float
        Per noise group.
    misfit : dict of str to Misfit
        Per kind of label.
    training : tuple of LabelledStructure or None
        Structures learnt from; None where a file did not hold them.
    summary : dict
        What was seen and found, JSON-able.
    pull : Tensor of shape (M,), optional
        Change of the whitened weights were the noise of every structure its own (:mod:`kernpot.regression.own_noise`).
    found_posterior : Posterior, optional
        That of exactly these factors, noise and amplitudes, where whoever makes this has it.
    left_out : mapping of int to (mapping of str to Tensor), optional
        Where inducing environments follow from the labels (:mod:`kernpot.gp.learning.whole_space`), by place of a
        structure and kind of label, label less prediction of a model that has not seen it, over its relative noise.
    shared : SharedDraws, optional
        What fast error bars come from; None where nothing calibrates them.
    unseen_pairs : UnseenPairs, optional
        How close atoms came in the structures learnt; None where they tell nothing of positions, and in older files.
    """

    features: tuple[Features, ...]
    kernels: tuple[CosineKernel, ...]
    whitening: Whitening
    noise_model: NoiseModel
    isolated: dict[int, float]
    elements: tuple[int, ...]
    factors: Mapping[str, LabelFactor]
    noise: dict[str, float]
    misfit: dict[str, Misfit]
    training: tuple[LabelledStructure, ...] | None
    summary: dict[str, Any]
    pull: Tensor | None = None
    found_posterior: Posterior | None = None
    left_out: Mapping[int, Mapping[str, Tensor]] | None = None
    shared: SharedDraws | None = None
    unseen_pairs: UnseenPairs | None = None
    _once: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def amplitudes(self) -> Tensor:
        """Amplitude (n_blocks,) of every inducing block, eV."""
        return Amplitudes(self.whitening.blocks, self.kernels).values()

    @cached_property
    def posterior(self) -> Posterior:
        """Over the whitened weights of the inducing environments."""
        return self.found_posterior or Posterior(self.factors, self.whitening.block, self.noise, self.amplitudes)

    @cached_property
    def of_draws(self) -> Posterior:
        """What calibrated draws are drawn from, with ``draw_scale``: the posterior, widened along ``pull``."""
        return self.posterior if self.pull is None else self.posterior.widened(self.pull / self.draw_scale)

    @cached_property
    def mean(self) -> MeanPotential:
        """The posterior mean as a potential."""
        weights = self.whitening.weights(self.posterior.whitened_weights * self.posterior.scale)
        return MeanPotential(self.features, self.whitening.blocks, weights, self.isolated)

    @cached_property
    def maker(self) -> RowMaker:
        """Makes rows of labelled structures."""
        return RowMaker(self.features, self.whitening, self.noise_model, self.isolated)

    @cached_property
    def log_evidence(self) -> float:
        """Variational lower bound of the log marginal likelihood of all labels learnt."""
        evidence = Evidence(self.factors, self.whitening.block)
        noise = torch.tensor([self.noise[group] for group in evidence.groups], dtype=torch.float64)
        return float(evidence(noise.log(), self.amplitudes.log()))

    @property
    def kinds(self) -> set[str]:
        """Kinds of labels learnt."""
        return {kind_of(group) for group in self.factors}

    @property
    def draw_scale(self) -> float:
        """Factor on the parameter part of calibrated draws."""
        return draw_scale(self.misfit, self.kinds)

    @property
    def cutoff(self) -> float:
        """Largest cutoff of the descriptors, Angstrom."""
        return max(f.cutoff for f in self.features)

    @property
    def n_inducing(self) -> int:
        """Inducing environments in use."""
        return len(self.whitening.block)

    @property
    def energy_noise(self) -> float:
        """Smallest noise of energies, eV/atom."""
        return min(level for group, level in self.noise.items() if kind_of(group) == "energy")

    def ready(self) -> FittedGP:
        """Itself, with what all answers rest on made: whatever fails, fails now."""
        _ = self.mean
        return self

    def once(self, make: Callable[[FittedGP], Result]) -> Result:
        """What a function of the fit gives, made at the first call and kept."""
        if make not in self._once:
            self._once[make] = make(self)
        found: Result = self._once[make]
        return found

    def __getstate__(self) -> dict[str, Any]:
        # What follows from the rest is made anew where it is asked for, and need not travel.
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"found_posterior": None, "_once": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

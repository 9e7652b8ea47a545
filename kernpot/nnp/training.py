"""Training of all members at once: batches of structures, a schedule, early stopping member by member."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernpot.errors import NumericalError
from kernpot.nnp.derivatives import Batch, Derivatives, forces_and_stress
from kernpot.nnp.networks import Networks
from kernpot.nnp.optimiser import Optimiser
from kernpot.nnp.targets import Targets, loss

SCHEDULES = ("cosine", "plateau")
# Atoms of a batch when structures are large; never fewer structures than two.
_ATOMS = 400
# Steps over which the learning rate rises from nothing.
_WARM_UP = 100
# A plateau halves the rate after so many epochs without an improvement; the training ends below a hundredth of it.
_PLATEAU, _LEAST_RATE = 10, 0.01
# Structures evaluated together where nothing is learnt.
_TOGETHER = 32
# Gradients are clipped at so many times their usual norm.
_CLIP = 5.0


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes
    ----------
    max_epochs : int
    batch_size : int
        Structures of a step, fewer when they are large.
    learning_rate : float
    schedule : {"cosine", "plateau"}
    patience : int
        Epochs without an improvement of any member on the held-out part after which the training ends.
    seed : int
        Of the order of batches.
    """

    max_epochs: int
    batch_size: int
    learning_rate: float
    schedule: str
    patience: int
    seed: int


@dataclass(eq=False)
class Progress:
    """Where a training is; with the optimiser's state, all that the next epoch depends on.

    Attributes
    ----------
    epoch : int
        Epochs done.
    rate : float
        Factor of the schedule "plateau" on the learning rate.
    best : ndarray of shape (K,)
        Least loss of each member on the held-out part.
    best_epoch : ndarray of shape (K,)
    kept : list of Tensor
        Weights with which it was reached.
    history : list of (float, float)
        Mean loss in training and on the held-out part, per structure, after every epoch.
    """

    epoch: int
    rate: float
    best: NDArray[np.float64]
    best_epoch: NDArray[np.int64]
    kept: list[Tensor]
    history: list[tuple[float, float]] = field(default_factory=list)


class Trainer:
    """Trains the networks of every element on cached inputs and derivatives.

    Parameters
    ----------
    networks : mapping of int to Networks
        By atomic number; where to start.
    data : Derivatives
    targets : Targets
    weights : ndarray of shape (K, n_structures)
        How much each member trains on each structure; zero everywhere for the held-out part.
    held_out : ndarray of int64
        Structures that no member trains on. Without any, the last average of the weights is kept.
    settings : Settings
    n_threads : int
        On which structures are folded; the bits do not depend on it.
    """

    def __init__(
        self,
        networks: Mapping[int, Networks],
        data: Derivatives,
        targets: Targets,
        weights: NDArray[np.float64],
        held_out: NDArray[np.int64],
        settings: Settings,
        n_threads: int = 1,
    ) -> None:
        self._shapes, self._data, self._targets, self._settings = dict(networks), data, targets, settings
        self._weights = torch.from_numpy(weights).float()
        self._held_out = held_out
        self._n_threads = n_threads
        self._train = np.nonzero(weights.any(0))[0]
        parameters = [t.detach().float().clone().requires_grad_() for n in networks.values() for t in n.tensors]
        n_atoms = float(np.diff(data.atoms)[self._train].mean())
        self._batch = max(min(settings.batch_size, round(_ATOMS / n_atoms)), min(settings.batch_size, 2))
        self.n_batches = math.ceil(len(self._train) / self._batch)
        self.optimiser = Optimiser(parameters, _CLIP, 2.0 * self.n_batches)
        n_members = weights.shape[0]
        none = np.zeros(n_members, dtype=np.int64)
        self.progress = Progress(0, 1.0, np.full(n_members, np.inf), none, [p.detach().clone() for p in parameters])

    @property
    def done(self) -> bool:
        """Whether another epoch would not be made."""
        at, settings = self.progress, self._settings
        if at.epoch >= settings.max_epochs or at.rate < _LEAST_RATE:
            return True
        return bool(len(self._held_out) and at.epoch - at.best_epoch.max() >= settings.patience)

    def epoch(self) -> None:
        """One pass over the training structures, and a look at the held-out ones.

        Raises
        ------
        NumericalError
            When weights are no longer finite.
        """
        at, settings = self.progress, self._settings
        # The order of an epoch depends on nothing but its number: a resumed training goes on as if nothing had been.
        order = np.random.default_rng([settings.seed, at.epoch]).permutation(self._train)
        total = 0.0
        for first in range(0, len(order), self._batch):
            batch = Batch(self._data, np.sort(order[first : first + self._batch]), self._n_threads)
            value = (self._loss(self.optimiser.parameters, batch) * self._weights[:, batch.structures]).sum(1)
            (value.sum() / len(batch.structures)).backward()
            self.optimiser.step(self._rate())
            total += float(value.detach().mean())
        at.epoch += 1
        if not math.isfinite(total):
            raise NumericalError(
                f"the training diverged in epoch {at.epoch}: the loss is {total}; lower learning_rate (now "
                f"{settings.learning_rate:g}), and look for labels that contradict each other."
            )
        losses = self.held_out_losses(self.optimiser.average)
        at.history.append((total / len(order), float(losses.mean()) if len(self._held_out) else math.nan))
        if any(len(p) != len(losses) for p in at.kept):  # members that share a body stop together
            losses[:] = losses.mean()
        better = losses < at.best if len(self._held_out) else np.full(len(at.best), True)
        at.best[better], at.best_epoch[better] = losses[better], at.epoch
        for kept, now in zip(at.kept, self.optimiser.average, strict=True):
            chosen = torch.from_numpy(better if len(kept) == len(better) else better[:1])
            kept[chosen] = now[chosen]
        if settings.schedule == "plateau" and at.epoch - at.best_epoch.max() >= _PLATEAU:
            waited = at.epoch - at.best_epoch.max()
            at.rate *= 0.5 if waited % _PLATEAU == 0 else 1.0

    def held_out_losses(self, parameters: Sequence[Tensor]) -> NDArray[np.float64]:
        """Mean loss (K,) of every member over the held-out structures."""
        total = np.zeros(self._weights.shape[0])
        with torch.no_grad():
            for first in range(0, len(self._held_out), _TOGETHER):
                batch = Batch(self._data, self._held_out[first : first + _TOGETHER], self._n_threads)
                total += self._loss(parameters, batch).sum(1).double().numpy()
        return total / max(len(self._held_out), 1)

    def networks(self) -> dict[int, Networks]:
        """The networks that were kept, in double precision."""
        return self._with([t.double() for t in self.progress.kept])

    def _with(self, tensors: Sequence[Tensor]) -> dict[int, Networks]:
        found, at = {}, 0
        for z, shape in self._shapes.items():
            n = len(shape.tensors)
            found[z] = shape.like(tensors[at : at + n])
            at += n
        return found

    def _rate(self) -> float:
        settings, steps = self._settings, self.optimiser.steps
        rate = settings.learning_rate * min(1.0, (steps + 1) / _WARM_UP)
        if settings.schedule == "plateau":
            return rate * self.progress.rate
        return rate * 0.5 * (1 + math.cos(math.pi * steps / (settings.max_epochs * self.n_batches)))

    def _loss(self, parameters: Sequence[Tensor], batch: Batch) -> Tensor:
        """Loss (K, n) of every structure of a batch."""
        places = batch.places
        z, numbers = self._data.inputs[places], self._data.numbers[places]
        networks = self._with(parameters)
        n_members = self._weights.shape[0]
        energies, slopes = z.new_zeros((n_members, len(z))), z.new_zeros((n_members, *z.shape))
        for element, net in networks.items():
            members = torch.nonzero(numbers == element).squeeze(1)
            if not len(members):
                continue
            width = net.weights[0].shape[1]
            e, g = net(z[members, :width])
            if len(members) == len(z) and width == z.shape[1]:
                energies, slopes = e, g
            else:
                energies = energies.index_copy(1, members, e)
                padded = torch.nn.functional.pad(g, (0, z.shape[1] - width))
                slopes = slopes.index_copy(1, members, padded)
        sizes = torch.from_numpy(batch.sizes)
        owner = torch.arange(len(sizes)).repeat_interleave(sizes)
        totals = energies.new_zeros((n_members, len(sizes))).index_add(1, owner, energies)
        forces, stress = forces_and_stress(slopes.transpose(0, 1), batch)
        return loss(self._targets, batch, totals / sizes, forces, stress)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Everything that the next epoch depends on: plain data, and tensors."""
        at = self.progress
        plain = {
            "epoch": at.epoch,
            "rate": at.rate,
            "best": [b if math.isfinite(b) else None for b in at.best.tolist()],
            "best_epoch": at.best_epoch.tolist(),
            "history": [[a, b if math.isfinite(b) else None] for a, b in at.history],
        }
        return plain, self.optimiser.state() | {f"kept.{k}": t for k, t in enumerate(at.kept)}

    def restore(self, plain: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
        """Take up what :meth:`state` gave."""
        at = self.progress
        at.epoch, at.rate = int(plain["epoch"]), float(plain["rate"])
        at.best[:] = [np.inf if b is None else b for b in plain["best"]]
        at.best_epoch[:] = plain["best_epoch"]
        at.history = [(a, math.nan if b is None else b) for a, b in plain["history"]]
        for k, kept in enumerate(at.kept):
            kept.copy_(tensors[f"kept.{k}"])
        self.optimiser.restore(tensors)

"""Adam for stacked members: each has its own step, its own clipping and its own average of weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Kingma and Ba (2015).
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class Optimiser:
    """Adam (Kingma and Ba, ICLR 2015) with gradients clipped to a norm, and an exponential average of the weights.

    Tensors whose first dimension is the members are treated member by member, so that a member that runs away leaves
    the others alone; the average of the weights is what is kept (Izmailov et al., UAI 2018, in its exponential form).

    Parameters
    ----------
    parameters : sequence of Tensor
        Changed in place by :meth:`step`.
    clip : float
        Largest norm of a member's gradient, in units of its usual norm: the running mean.
    averaging : float
        Steps that the average of the weights looks back.
    """

    def __init__(self, parameters: Sequence[Tensor], clip: float, averaging: float) -> None:
        self.parameters, self._clip, self._averaging = list(parameters), clip, averaging
        self.first = [torch.zeros_like(p) for p in parameters]
        self.second = [torch.zeros_like(p) for p in parameters]
        self.average = [p.detach().clone() for p in parameters]
        self.usual = torch.zeros(max(len(p) for p in parameters))
        self.steps = 0

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the parameters against the gradients they hold."""
        self.steps += 1
        for p in self.parameters:
            if p.grad is None:  # of an element that no structure of the batch holds
                p.grad = torch.zeros_like(p)
        scale = self._scale()
        ahead = 1 - min(self._averaging, self.steps) ** -1 if self.steps > 1 else 0.0
        for p, m, v, average in zip(self.parameters, self.first, self.second, self.average, strict=True):
            assert p.grad is not None
            # A shared body follows the member that is clipped most.
            own = scale if len(p) == len(scale) else scale.min().expand(len(p))
            g = p.grad * own.view(-1, *[1] * (p.ndim - 1))
            m.mul_(_BETA1).add_(g, alpha=1 - _BETA1)
            v.mul_(_BETA2).addcmul_(g, g, value=1 - _BETA2)
            size = (v / (1 - _BETA2**self.steps)).sqrt_().add_(_EPSILON)
            p.addcdiv_(m, size, value=-rate / (1 - _BETA1**self.steps))
            average.mul_(ahead).add_(p, alpha=1 - ahead)
            p.grad = None

    def _scale(self) -> Tensor:
        """Factor (K,) on each member's gradient."""
        squares = torch.zeros_like(self.usual)
        for p in self.parameters:
            assert p.grad is not None
            squares += p.grad.flatten(1).square().sum(1)
        norm = squares.sqrt()
        # From the first gradient that is there: a member that was not drawn for any structure of a batch has none.
        self.usual = torch.where(self.usual > 0, self.usual, norm)
        scale = torch.where(norm > self._clip * self.usual, self._clip * self.usual / norm, 1.0)
        self.usual.mul_(_BETA2).addcmul_(scale * norm, torch.ones_like(norm), value=1 - _BETA2)
        return scale

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        named = {"parameter": self.parameters, "first": self.first, "second": self.second, "average": self.average}
        found = {f"{name}.{k}": t.detach() for name, tensors in named.items() for k, t in enumerate(tensors)}
        return found | {"usual": self.usual, "steps": torch.tensor([self.steps])}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what :meth:`state` gave."""
        named = {"parameter": self.parameters, "first": self.first, "second": self.second, "average": self.average}
        for name, tensors in named.items():
            for k, t in enumerate(tensors):
                t.copy_(state[f"{name}.{k}"])
        self.usual, self.steps = state["usual"].clone(), int(state["steps"][0])

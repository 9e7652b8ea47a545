"""Several small networks evaluated together: their weights are stacked, and every product serves all members.

A member's energy of an environment with inputs ``z`` is that of a multilayer perceptron,

    x_0 = z,   x_l = f(x_{l-1} W_l + b_l),   e = x_L w + c

(Behler and Parrinello, Phys. Rev. Lett. 98, 146401 (2007)). Forces need its slope ``de/dz`` and training on forces the
slope's derivative with respect to the weights, so the slope is written out,

    g_L = w,   g_{l-1} = (g_l * f'(x_{l-1} W_l + b_l)) W_l^T,   de/dz = g_0,

and differentiated once, instead of asking for a derivative of a derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import softplus

from kernpot.errors import KernpotError, NotSmoothError

Function = Callable[[Tensor], Tensor]


def _silu(a: Tensor) -> Tensor:
    return a * torch.sigmoid(a)


def _silu_slope(a: Tensor) -> Tensor:
    s = torch.sigmoid(a)
    return s * (1 + a * (1 - s))


def _tanh_slope(a: Tensor) -> Tensor:
    return 1 - torch.tanh(a).square()


# Name, function and its slope; every one of them has continuous derivatives of all orders.
ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    "silu": (_silu, _silu_slope),
    "softplus": (softplus, torch.sigmoid),
    "tanh": (torch.tanh, _tanh_slope),
}
_WITH_KINKS = {"relu", "leaky_relu", "prelu", "relu6", "hardtanh", "hardswish", "elu", "celu", "selu", "rrelu"}


def check_activation(name: object) -> None:
    """Refuse an activation that is unknown, or whose forces would jump.

    Raises
    ------
    NotSmoothError
        For rectifiers and their kin.
    KernpotError
        For any other name.
    """
    if name in ACTIVATIONS:
        return
    if isinstance(name, str) and name.lower() in _WITH_KINKS:
        raise NotSmoothError(
            f"activation={name!r} has a kink: forces would jump and their derivatives not exist. Write one of "
            f"{', '.join(map(repr, ACTIVATIONS))}."
        )
    raise KernpotError(f"activation must be one of {', '.join(map(repr, ACTIVATIONS))}, got {name!r}.")


@dataclass(frozen=True, eq=False)
class Networks:
    """Perceptrons of one element for all members; shared bodies have one member, heads have one each.

    Attributes
    ----------
    weights : list of Tensor of shape (K or 1, n_in, n_out)
        Of the hidden layers.
    biases : list of Tensor of shape (K or 1, 1, n_out)
    head : Tensor of shape (K, n_hidden, 1)
    offset : Tensor of shape (K, 1, 1)
        eV.
    activation : str
    """

    weights: list[Tensor]
    biases: list[Tensor]
    head: Tensor
    offset: Tensor
    activation: str

    @property
    def tensors(self) -> list[Tensor]:
        """Everything that is trained, in a fixed order."""
        return [*self.weights, *self.biases, self.head, self.offset]

    @property
    def n_members(self) -> int:
        """Number of energies of an environment."""
        return len(self.head)

    @property
    def n_bodies(self) -> int:
        """Number of different last hidden layers."""
        return len(self.weights[0])

    def member(self, k: int) -> Networks:
        """One of the members, as an ensemble of one."""
        return self.like([t[:1] if len(t) == 1 else t[k : k + 1] for t in self.tensors])

    def like(self, tensors: Sequence[Tensor]) -> Networks:
        """The same networks with other numbers, in the order of :attr:`tensors`."""
        n = len(self.weights)
        return Networks(
            list(tensors[:n]), list(tensors[n : 2 * n]), tensors[2 * n], tensors[2 * n + 1], self.activation
        )

    def hidden(self, z: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Last hidden layer (K or 1, n, n_hidden) at inputs (n, P), and the activations' slopes on the way."""
        function, slope = ACTIVATIONS[self.activation]
        x, slopes = z, []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            a = torch.matmul(x, weight) + bias
            x = function(a)
            slopes.append(slope(a))
        return x, slopes

    def back(self, gradient: Tensor, slopes: Sequence[Tensor]) -> Tensor:
        """Gradients with respect to the inputs from those with respect to the last hidden layer."""
        for weight, slope in zip(reversed(self.weights), reversed(slopes), strict=True):
            gradient = torch.matmul(gradient * slope, weight.mT)
        return gradient

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (K, n), eV, and their slopes (K, n, P) at inputs (n, P)."""
        x, slopes = self.hidden(z)
        energies = (torch.matmul(x, self.head) + self.offset)[..., 0]
        return energies, self.back(self.head.mT.expand(-1, len(z), -1), slopes)


def random_networks(
    n_inputs: int,
    hidden: Sequence[int],
    n_members: int,
    shared: bool,
    activation: str,
    generators: Sequence[torch.Generator],
) -> Networks:
    """Networks before training, each member from its own seed; in double precision.

    Weights are normal with variance ``1 / n_in`` (LeCun et al. 1998), biases and offsets zero.

    Parameters
    ----------
    generators : sequence of n_members torch.Generator
        A shared body is drawn from the first.
    """
    sizes = [n_inputs, *hidden]
    bodies = generators[:1] if shared else generators

    def drawn(sources: Sequence[torch.Generator], n_in: int, n_out: int) -> Tensor:
        return torch.stack([torch.randn((n_in, n_out), generator=g, dtype=torch.float64) for g in sources]) / math.sqrt(
            n_in
        )

    weights = [drawn(bodies, a, b) for a, b in pairwise(sizes)]
    biases = [torch.zeros((len(bodies), 1, b), dtype=torch.float64) for b in sizes[1:]]
    head = drawn(generators, sizes[-1], 1)
    return Networks(weights, biases, head, torch.zeros((n_members, 1, 1), dtype=torch.float64), activation)

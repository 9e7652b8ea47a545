"""Energies of environments as functions of their features, in operations that TorchScript knows."""

# No `from __future__ import annotations`: TorchScript reads annotations as objects.

from collections.abc import Sequence

import torch
from torch import Tensor

from kernpot.errors import KernpotError
from kernpot.kernels.forms import LinearForms, LocalEnergies, PowerSums, QuadraticForms, RandomProducts, Sum
from kernpot.nnp.members import MemberEnergies
from kernpot.surfaces.potentials import Term


class Linear(torch.nn.Module):
    """``v_k . u``."""

    vectors: Tensor

    def __init__(self, form: LinearForms) -> None:
        super().__init__()
        self.register_buffer("vectors", form.vectors.clone())

    def forward(self, u: Tensor) -> Tensor:
        """Energies (n, K)."""
        return u @ self.vectors.T


class Quadratic(torch.nn.Module):
    """``v^T A_k v`` of ``v = u``, or of its coordinates in a basis."""

    forms: Tensor
    basis: Tensor

    def __init__(self, form: QuadraticForms) -> None:
        super().__init__()
        self.has_basis = form.basis is not None
        self.register_buffer("forms", torch.stack(form.forms))
        self.register_buffer("basis", form.forms[0].new_zeros(0) if form.basis is None else form.basis.clone())

    def forward(self, u: Tensor) -> Tensor:
        """Energies (n, K)."""
        v = u
        if self.has_basis:
            v = u @ self.basis
        return torch.stack([((v @ self.forms[k]) * v).sum(1) for k in range(len(self.forms))], 1)


class Powers(torch.nn.Module):
    """``sum_m w_km (u . u_m)^zeta``."""

    environments: Tensor
    weights: Tensor
    basis: Tensor

    def __init__(self, form: PowerSums) -> None:
        super().__init__()
        self.zeta, self.has_basis = int(form.zeta), form.basis is not None
        self.register_buffer("environments", form.environments.clone())
        self.register_buffer("weights", form.weights.clone())
        self.register_buffer("basis", form.weights.new_zeros(0) if form.basis is None else form.basis.clone())

    def forward(self, u: Tensor) -> Tensor:
        """Energies (n, K)."""
        v = u
        if self.has_basis:
            v = u @ self.basis
        return (v @ self.environments.T) ** self.zeta @ self.weights.T


class Products(torch.nn.Module):
    """``sum_s c_ks prod_j r_ksj . u``."""

    signs: Tensor
    coefficients: Tensor

    def __init__(self, form: RandomProducts) -> None:
        super().__init__()
        self.register_buffer("signs", torch.stack(form.signs))
        self.register_buffer("coefficients", torch.stack(form.coefficients))

    def forward(self, u: Tensor) -> Tensor:
        """Energies (n, K)."""
        energies: list[Tensor] = []
        for k in range(len(self.signs)):
            product = self.coefficients[k].expand(len(u), -1)
            for j in range(self.signs.shape[1]):
                product = product * (u @ self.signs[k, j].to(u.dtype).T)
            energies.append(product.sum(1))
        return torch.stack(energies, 1)


class Both(torch.nn.Module):
    """Sum of two kinds of functions."""

    def __init__(self, form: Sum) -> None:
        super().__init__()
        self.first, self.second = scripted_form(form.first), scripted_form(form.second)

    def forward(self, u: Tensor) -> Tensor:
        """Energies (n, K)."""
        first: Tensor = self.first(u)
        second: Tensor = self.second(u)
        return first + second


class Perceptrons(torch.nn.Module):
    """Networks of one element, or combinations of them."""

    mean: Tensor
    projection: Tensor
    head: Tensor
    offset: Tensor
    mixing: Tensor

    def __init__(self, form: MemberEnergies) -> None:
        super().__init__()
        net = form.networks
        self.activation, self.n_layers, self.is_mixed = net.activation, len(net.weights), form.mixing is not None
        self.register_buffer("mean", form.inputs.mean.clone())
        self.register_buffer("projection", form.inputs.projection.clone())
        self.weights = torch.nn.ParameterList([frozen(w) for w in net.weights])
        self.biases = torch.nn.ParameterList([frozen(b) for b in net.biases])
        self.register_buffer("head", net.head.detach().clone())
        self.register_buffer("offset", net.offset.detach().clone())
        self.register_buffer("mixing", net.head.new_zeros(0) if form.mixing is None else form.mixing.clone())

    def forward(self, u: Tensor) -> Tensor:
        """Energies (n, K)."""
        x = ((u - self.mean) @ self.projection)[None]
        for weight, bias in zip(self.weights, self.biases):  # noqa: B905  TorchScript's zip knows no `strict`
            a = torch.matmul(x, weight) + bias
            if self.activation == "silu":
                x = a * torch.sigmoid(a)
            elif self.activation == "softplus":
                x = torch.nn.functional.softplus(a)
            else:
                x = torch.tanh(a)
        energies = (torch.matmul(x, self.head) + self.offset)[:, :, 0].T
        if self.is_mixed:
            energies = energies @ self.mixing.T
        return energies


def frozen(values: Tensor) -> torch.nn.Parameter:
    """A parameter that nothing trains."""
    return torch.nn.Parameter(values.detach().clone(), requires_grad=False)


def scripted_form(form: LocalEnergies) -> torch.nn.Module:
    """The module that computes what `form` does.

    Raises
    ------
    KernpotError
        Nothing is known of that form.
    """
    modules: dict[type, type] = {
        LinearForms: Linear,
        QuadraticForms: Quadratic,
        PowerSums: Powers,
        RandomProducts: Products,
        Sum: Both,
        MemberEnergies: Perceptrons,
    }
    for kind, module in modules.items():
        if isinstance(form, kind):
            made: torch.nn.Module = module(form)
            return made
    raise KernpotError(f"no TorchScript module is known for {type(form).__name__}.")


class OfElement(torch.nn.Module):
    """Energies that the atoms of one element have under one descriptor."""

    def __init__(self, term: Term) -> None:
        super().__init__()
        self.descriptor, self.element = term.descriptor, term.element
        self.energies = scripted_form(term.energies)

    def forward(self, u: Tensor) -> Tensor:
        """Energies (n, K)."""
        energies: Tensor = self.energies(u)
        return energies


class AtomicEnergies(torch.nn.Module):
    """Atomic energies of K potentials of one form, without those of isolated atoms.

    Parameters
    ----------
    terms : sequence of Term
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__()
        self.terms = torch.nn.ModuleList(OfElement(term) for term in terms)

    def forward(self, features: list[Tensor], numbers: Tensor) -> Tensor:
        """Energies (n, K), eV."""
        precision = torch.float64
        if len(features) > 0:
            precision = features[0].dtype
        total = torch.zeros((len(numbers), 1), dtype=precision, device=numbers.device)
        for term in self.terms:
            at = torch.nonzero(numbers == term.element)[:, 0]
            own: Tensor = term(features[term.descriptor][at])
            every = torch.zeros((len(numbers), own.shape[1]), dtype=own.dtype, device=own.device)
            total = total + every.index_add(0, at, own)
        return total

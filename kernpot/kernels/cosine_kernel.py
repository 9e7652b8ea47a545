"""Kernels between atomic environments: functions of the cosine between their features, with amplitudes by element."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import gpytorch
import torch
from gpytorch.constraints import Positive
from gpytorch.priors import Prior
from torch import Tensor

from kernpot.errors import KernpotError, NotInFileError
from kernpot.kernels.functions import CosineFunction
from kernpot.parameters import is_real
from kernpot.structures.elements import atomic_number

_KINDS: dict[str, type[CosineKernel]] = {}

# What the prior standard deviation of an atom's energy may start from, eV: squares of others have no digits.
_AMPLITUDES = (1e-8, 1e8)


# A function rather than a lambda: estimators that hold the kernel are pickled by parallel grid searches.
def _get_amplitude(kernel: CosineKernel) -> Tensor:
    return kernel.amplitude


class CosineKernel(gpytorch.kernels.Kernel):
    r"""Sum of functions of the cosine between environments of atoms of the same element, each with amplitudes.

    .. math:: k(i, j) = \delta_{z_i z_j} \sum_f a_{f z_i}^2 \, f(\hat u_i \cdot \hat u_j)

    A kernel of one's own derives from it: it names its ``kind`` for the model file, hands its functions over, and gives
    the ``parameters`` that its constructor needs to make them again.

    Parameters
    ----------
    functions : sequence of CosineFunction
        Each has inducing environments and amplitudes of its own.
    elements : sequence of int, optional
        Atomic numbers; one amplitude each. None lets the estimator fill in the elements it meets.
    amplitude : float, default=1.0
        Start value of the amplitudes in eV. ``kernel.raw_amplitude.requires_grad_(False)`` keeps them fixed.
    amplitude_prior : gpytorch.priors.Prior, optional
        Prior on the amplitudes, added to the evidence.

    Attributes
    ----------
    kind : str
        Name in model files; a class that has one is known to them from its definition on. One that another class has
        is refused with ValueError.
    functions : tuple of CosineFunction
    elements : tuple of int or None

    Raises
    ------
    KernpotError
        For an amplitude that is not positive and finite, elements that are empty or repeated, and without functions.

    Notes
    -----
    ``forward`` takes rows ``[atomic number, features...]``, of shape (..., n, 1 + n_features).
    """

    kind: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            taken = _KINDS.get(cls.kind, cls)
            # A class that is defined again, in a notebook or by a reload, replaces itself.
            if (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ValueError(
                    f"the kind {cls.kind!r} of the kernel {cls.__module__}.{cls.__qualname__} is that of "
                    f"{taken.__module__}.{taken.__qualname__} already, which model files name by it; give yours another"
                )
            _KINDS[cls.kind] = cls

    def __init__(
        self,
        functions: Sequence[CosineFunction],
        elements: Sequence[int] | None = None,
        amplitude: float = 1.0,
        amplitude_prior: Prior | None = None,
    ) -> None:
        super().__init__()
        if (
            not isinstance(functions, Sequence)
            or not functions
            or not all(isinstance(function, CosineFunction) for function in functions)
        ):
            raise KernpotError(
                f"expected one or more functions of the cosine for {type(self).__name__}, such as [Power(2)], got "
                f"{functions!r}."
            )
        if not is_real(amplitude, *_AMPLITUDES):
            raise KernpotError(
                f"amplitude must be a positive energy in eV, {_AMPLITUDES[0]:g} to {_AMPLITUDES[1]:g}, got "
                f"{amplitude!r}."
            )
        if amplitude_prior is not None and not isinstance(amplitude_prior, Prior):
            raise KernpotError(f"amplitude_prior must be None or a gpytorch.priors.Prior, got {amplitude_prior!r}.")
        self.functions = tuple(functions)
        self.elements: tuple[int, ...] | None = None if elements is None else _distinct(elements)
        start = torch.zeros(self._shape(), dtype=torch.float64)
        self.register_parameter("raw_amplitude", torch.nn.Parameter(start))
        self.register_constraint("raw_amplitude", Positive(transform=torch.exp, inv_transform=torch.log))
        if amplitude_prior is not None:
            self.register_prior("amplitude_prior", amplitude_prior, _get_amplitude, CosineKernel.set_amplitude)
        self.set_amplitude(torch.tensor(float(amplitude), dtype=torch.float64))

    def _shape(self) -> tuple[int, ...]:
        n = 1 if self.elements is None else len(self.elements)
        return (n,) if len(self.functions) == 1 else (len(self.functions), n)

    @property
    def parameters_given(self) -> Mapping[str, Any]:
        """What the constructor made the functions of, as plain data."""
        raise KernpotError(f"{type(self).__name__} cannot be written to a model file: it has no parameters_given.")

    @property
    def amplitude(self) -> Tensor:
        """Amplitudes in eV, one per element in the order of ``elements``; of several functions one row each."""
        return self.raw_amplitude_constraint.transform(self.raw_amplitude)

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002  as scikit-learn asks
        """What the kernel is made of, by the names of its constructor; amplitudes in eV."""
        amplitude = self.amplitude.detach()
        alike = bool((amplitude == amplitude.flatten()[0]).all())
        return {
            **self.parameters_given,
            "elements": self.elements,
            "amplitude": float(amplitude.flatten()[0]) if alike else amplitude.tolist(),
        }

    def set_params(self, **parameters: Any) -> Self:
        """Change what the kernel is made of; amplitudes stay unless they are given.

        Parameters
        ----------
        **parameters
            Of :meth:`get_params`.

        Raises
        ------
        KernpotError
            A parameter that the kernel does not have, or one that its constructor refuses.
        """
        known, own = self.get_params(), dict(self.parameters_given)
        unknown = sorted(set(parameters) - set(known))
        if unknown:
            raise KernpotError(
                f"{type(self).__name__} has no parameters {unknown}, expected some of {', '.join(known)}."
            )
        made = own | {name: value for name, value in parameters.items() if name in own}
        if "amplitude_prior" in self._modules:
            made["amplitude_prior"] = self.amplitude_prior
        now, free = self.amplitude.detach(), self.raw_amplitude.requires_grad
        elements = parameters.get("elements", self.elements)
        new = type(self)(**made, elements=elements, amplitude=float(now.mean()))
        self.__dict__.update(new.__dict__)
        if now.shape == self.raw_amplitude.shape:
            self.set_amplitude(now)
        self.raw_amplitude.requires_grad_(free)
        if "amplitude" in parameters:
            given = torch.as_tensor(parameters["amplitude"], dtype=torch.float64)
            if not bool((torch.isfinite(given) & (given > 0)).all()):
                raise KernpotError(f"amplitude must be a positive energy in eV, got {parameters['amplitude']!r}.")
            self.set_amplitude(given)
        return self

    def __sklearn_clone__(self) -> Self:
        """With its amplitudes, whether they are fixed, and their prior, of which the constructor takes not all."""
        return copy.deepcopy(self)

    def __repr__(self) -> str:
        """As it is made, without what is not set."""
        given = dict(self.get_params())
        if given["elements"] is None:
            del given["elements"]
        if given["amplitude"] == 1.0:
            del given["amplitude"]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def set_amplitude(self, value: Tensor) -> None:
        """Set the amplitudes (eV)."""
        value = torch.as_tensor(value, dtype=torch.float64).expand(self.raw_amplitude.shape)
        self.initialize(raw_amplitude=self.raw_amplitude_constraint.inverse_transform(value))

    def for_elements(self, elements: Sequence[int]) -> Self:
        """A copy with amplitudes for the given elements; those of elements already known are kept."""
        start, now = float(self.amplitude.detach().mean()), self.amplitude.detach()
        known = {} if self.elements is None else {z: now[..., k] for k, z in enumerate(self.elements)}
        new = copy.deepcopy(self)
        new.elements = _distinct(elements)
        fixed, shape = not self.raw_amplitude.requires_grad, new._shape()
        values = torch.full(shape, start, dtype=torch.float64)
        for k, z in enumerate(new.elements):
            if z in known:
                values[..., k] = known[z]
        new.raw_amplitude = torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64), requires_grad=not fixed)
        new.set_amplitude(values)
        return new

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: object) -> Tensor:  # noqa: ARG002
        """Covariance in eV^2 between environments; see the class notes for the rows."""
        if self.elements is None:
            raise KernpotError("the kernel does not know its elements: use kernel.for_elements([...]) first.")
        z1, z2 = x1[..., 0], x2[..., 0]
        u1, u2 = (torch.nn.functional.normalize(x[..., 1:], dim=-1) for x in (x1, x2))
        if diag:
            same, cosine = z1 == z2, (u1 * u2).sum(-1)
        else:
            same, cosine = z1[..., :, None] == z2[..., None, :], u1 @ u2.transpose(-1, -2)
        total = torch.zeros_like(cosine)
        for function, amplitudes in zip(self.functions, self.amplitude.reshape(len(self.functions), -1), strict=True):
            variance = sum((z1 == z).to(u1.dtype) * a**2 for z, a in zip(self.elements, amplitudes, strict=True))
            total = total + (variance if diag else variance[..., :, None]) * function.value(cosine)
        return total * same


def kernel_to_dict(kernel: CosineKernel) -> dict[str, Any]:
    """A kernel as plain data, for the model file.

    Raises
    ------
    KernpotError
        Its class gives no ``kind`` or no parameters.
    """
    known = _KINDS.get(getattr(type(kernel), "kind", ""))
    if known is None or known.__qualname__ != type(kernel).__qualname__:  # a subclass is not what its parent is
        raise KernpotError(f"{type(kernel).__name__} cannot be written to a model file: give the class a kind.")
    return {
        **({} if kernel.kind == _DEFAULT else {"kind": kernel.kind}),
        **kernel.parameters_given,
        "elements": None if kernel.elements is None else list(kernel.elements),
        "amplitude": kernel.amplitude.tolist(),
        # The amplitude is a function of it: to the last bit only this brings the amplitude back.
        "raw_amplitude": kernel.raw_amplitude.tolist(),
        "fixed": not kernel.raw_amplitude.requires_grad,
    }


def kernel_from_dict(data: Mapping[str, Any]) -> CosineKernel:
    """The kernel that :func:`kernel_to_dict` described.

    Raises
    ------
    NotInFileError
        A kind that no class defined so far has.
    ValueError
        Amplitudes that do not fit.
    """
    kind = data.get("kind", _DEFAULT)
    if kind not in _KINDS:
        raise NotInFileError(
            f"the model has a kernel of kind {kind!r}, known are {', '.join(sorted(_KINDS))}: import the module that "
            "defines it before loading the model, or upgrade kernpot"
        )
    apart = {"kind", "elements", "amplitude", "raw_amplitude", "fixed"}
    arguments = {name: value for name, value in data.items() if name not in apart}
    kernel = _KINDS[kind](**arguments, elements=data["elements"])
    amplitude, raw = (torch.tensor(data[name], dtype=torch.float64) for name in ("amplitude", "raw_amplitude"))
    expected = tuple(kernel.raw_amplitude.shape)
    if tuple(amplitude.shape) != expected or not bool((torch.isfinite(amplitude) & (amplitude > 0)).all()):
        raise ValueError(f"expected positive amplitudes of shape {expected}, got {data['amplitude']}")
    if tuple(raw.shape) != expected or not bool(torch.isfinite(raw).all()):
        raise ValueError(f"expected finite raw amplitudes of shape {expected}, got {data['raw_amplitude']}")
    kernel.initialize(raw_amplitude=raw)
    if not bool(torch.allclose(kernel.amplitude, amplitude, rtol=1e-9)):
        raise ValueError("raw and other amplitudes differ")
    kernel.raw_amplitude.requires_grad_(not data["fixed"])
    return kernel


# What files say nothing of.
_DEFAULT = "soap"


def _distinct(elements: Sequence[int]) -> tuple[int, ...]:
    listed = isinstance(elements, Iterable) and not isinstance(elements, str)
    found = [None if isinstance(z, str) else atomic_number(z) for z in elements] if listed else []
    distinct = tuple(z for z in found if z is not None)
    if not distinct or len(distinct) < len(found) or len(set(distinct)) < len(distinct):
        got = list(elements) if listed else elements
        raise KernpotError(f"expected one or more different atomic numbers, got {got!r}.")
    return distinct

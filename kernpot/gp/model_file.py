"""A fitted sparse Gaussian process as header and tensors, and back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernpot.descriptors import SOAPFeatures
from kernpot.descriptors.serial import soap_from_dict, soap_to_dict
from kernpot.errors import KernpotError, ModelFileError
from kernpot.functionals.state import InducingBlock
from kernpot.gp.compress import RowMaker
from kernpot.gp.factor import LabelFactor
from kernpot.gp.hyperparameters import Hyperparameters, kind_of
from kernpot.gp.misfit import Misfit
from kernpot.gp.training_data import pack, unpack
from kernpot.gp.whitening import Whitening
from kernpot.kernels import SOAPKernel
from kernpot.storage import write_model
from kernpot.structures.labels import LABEL_KINDS
from kernpot.structures.noise import NoiseModel
from kernpot.tails import LEAST

if TYPE_CHECKING:
    from kernpot.gp.estimator import SparseGPPotential

_UNITS = {"energy": "eV", "length": "Angstrom", "forces": "eV/Angstrom", "stress": "eV/Angstrom^3"}
# Rounding of products of orthonormal columns; a basis further off was not made by an orthogonalisation.
_ORTHONORMAL = 1e-9
_PARAMETERS = {"n_inducing", "n_components", "optimize", "inducing", "random_state"}


def save(estimator: SparseGPPotential, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator."""
    blocks = estimator._whitening.blocks
    tensors: dict[str, NDArray[Any]] = {f"environments.{b}": x.environments.numpy() for b, x in enumerate(blocks)}
    groups = list(estimator._factors)
    for g, group in enumerate(groups):
        for name, tensor in estimator._factors[group].as_tensors().items():
            tensors[f"factor.{g}.{name}"] = tensor.numpy()
    tensors |= {f"basis.{b}": x.basis.numpy() for b, x in enumerate(blocks) if x.basis is not None}
    training: dict[str, Any] | None = None
    if estimator._training is not None:
        training, arrays = pack(estimator._training)
        tensors |= arrays
    header = {
        "kind": "SparseGPPotential",
        "units": _UNITS,
        "elements": list(estimator.elements_),
        "isolated_atoms": {str(z): e for z, e in estimator.isolated_atoms_.items()},
        "descriptors": [soap_to_dict(f.soap) for f in estimator._features],
        "kernels": [_kernel_data(k) for k in estimator.kernels_],
        "blocks": [
            {"descriptor": b.descriptor, "element": b.element, "zeta": b.zeta, "in_basis": b.basis is not None}
            for b in blocks
        ],
        "groups": groups,
        "noise": dict(estimator.noise_),
        "misfit": {kind: _misfit_data(misfit) for kind, misfit in estimator.misfit_.items()},
        "noise_model": asdict(estimator._maker.noise),
        "log_evidence": getattr(estimator, "log_evidence_", None),
        "n_inducing": estimator.n_inducing_,
        "parameters": {
            "n_inducing": int(estimator.n_inducing),
            "n_components": None if estimator.n_components is None else int(estimator.n_components),
            "optimize": bool(estimator.optimize),
            "inducing": estimator.inducing if isinstance(estimator.inducing, str) else "fps",
            "random_state": int(seed) if isinstance(seed := estimator.random_state, int | np.integer) else None,
        },
        "as_given": _as_given(estimator),
        "summary": estimator.summary_,
        "training": training,
    }
    write_model(path, header, tensors)


def restore(estimator: SparseGPPotential, header: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
    """Fill an estimator from a file's contents.

    Raises
    ------
    ModelFileError
        When a part is missing, is of another type, or does not fit the others.
    """
    with _reading("descriptors"):
        soaps = [soap_from_dict(d) for d in header["descriptors"]]
        _require(len(soaps) > 0, "it has none")
        estimator._features = [SOAPFeatures(s) for s in soaps]
    with _reading("kernels"):
        estimator.kernels_ = [_kernel(k) for k in header["kernels"]]
        _require(len(estimator.kernels_) == len(soaps), f"{len(soaps)} descriptors need as many")
    with _reading("elements"):
        estimator.elements_ = tuple(int(z) for z in header["elements"])
        known = set.intersection(*(set(f.species) for f in estimator._features))
        _require(bool(estimator.elements_) and set(estimator.elements_) <= known, "they are not the descriptors'")
    with _reading("isolated_atoms"):
        estimator.isolated_atoms_ = {int(z): _number(e) for z, e in header["isolated_atoms"].items()}
        _require(set(estimator.elements_) <= set(estimator.isolated_atoms_), "an element has no energy")
    blocks: list[InducingBlock] = []
    with _reading("blocks"):
        for b, data in enumerate(header["blocks"]):
            blocks.append(_block(data, b, tensors, estimator, blocks))
        _require(len(blocks) > 0, "it has none")
    with _reading("groups"):
        groups = [str(group) for group in header["groups"]]
        _require(bool(groups) and len(set(groups)) == len(groups), "expected one or more different names")
        _require({kind_of(group) for group in groups} <= set(LABEL_KINDS), f"unknown kind of label among {groups}")
    estimator._factors = {}
    for g, group in enumerate(groups):
        with _reading(f"factor.{g}"):
            estimator._factors[group] = _factor(f"factor.{g}", tensors, blocks)
    with _reading("noise"):
        estimator.noise_ = {str(k): _number(v) for k, v in header["noise"].items()}
        _require(set(groups) <= set(estimator.noise_), f"expected a level for each of {groups}")
        _require(all(v > 0 for v in estimator.noise_.values()), "a level is not positive")
    with _reading("misfit"):
        _require(set(header["misfit"]) == set(LABEL_KINDS), f"expected {', '.join(LABEL_KINDS)}")
        estimator.misfit_ = {kind: _misfit(data) for kind, data in header["misfit"].items()}
    with _reading("summary"):
        estimator.summary_ = dict(header["summary"])
    with _reading("log_evidence"):
        if header["log_evidence"] is not None:
            estimator.log_evidence_ = float(header["log_evidence"])
    with _reading("noise_model"):
        noise = NoiseModel(**header["noise_model"])
    with _reading("parameters"):
        parameters = {"n_components": None} | header["parameters"]
        _require(set(parameters) == _PARAMETERS, f"expected {', '.join(sorted(_PARAMETERS))}")
        estimator.set_params(
            descriptor=soaps if len(soaps) > 1 else soaps[0],
            kernel=list(estimator.kernels_) if len(soaps) > 1 else estimator.kernels_[0],
            noise=noise,
            isolated_atoms=dict(estimator.isolated_atoms_),
            **parameters,
        )
        if header.get("as_given") is not None:  # absent until kernpot stored what a clone is fitted with
            estimator.set_params(**_given(header["as_given"], estimator.descriptor))
    with _reading("training"):
        training = header.get("training")  # absent until kernpot stored the structures
        estimator._training = None if training is None else unpack(training, tensors)
    with _reading("environments"):
        estimator._whitening = Whitening(blocks)
    estimator._maker = RowMaker(estimator._features, estimator._whitening, noise, estimator.isolated_atoms_)
    estimator._hyperparameters = Hyperparameters(blocks, estimator.kernels_)


def _as_given(estimator: SparseGPPotential) -> dict[str, Any]:
    """Parameters as the user gave them: a clone is fitted with these, not with what the fit made of them."""
    kernel, noise, isolated = estimator.kernel, estimator.noise, estimator.isolated_atoms
    kernels = [kernel] if isinstance(kernel, SOAPKernel) else kernel
    return {
        "default_descriptor": estimator.descriptor is None,
        "kernel": None if kernels is None else [_kernel_data(k) for k in kernels],
        "noise": None if noise is None else asdict(NoiseModel.from_user(noise)),
        "isolated_atoms": None if isolated is None else {str(z): float(e) for z, e in isolated.items()},
    }


def _given(data: dict[str, Any], descriptor: Any) -> dict[str, Any]:
    kernel, noise, isolated = data["kernel"], data["noise"], data["isolated_atoms"]
    kernels = None if kernel is None else [_kernel(k) for k in kernel]
    return {
        "descriptor": None if data["default_descriptor"] else descriptor,
        "kernel": kernels[0] if kernels is not None and len(kernels) == 1 else kernels,
        "noise": None if noise is None else NoiseModel(**noise),
        "isolated_atoms": None
        if isolated is None
        else {int(z) if z.isdigit() else z: _number(e) for z, e in isolated.items()},
    }


def _kernel_data(kernel: SOAPKernel) -> dict[str, Any]:
    return {
        "zeta": kernel.zeta,
        "elements": None if kernel.elements is None else list(kernel.elements),
        "amplitude": kernel.amplitude.tolist(),
        # The amplitude is a function of it: to the last bit only this brings the amplitude back.
        "raw_amplitude": kernel.raw_amplitude.tolist(),
        "fixed": not kernel.raw_amplitude.requires_grad,
    }


@contextmanager
def _reading(part: str) -> Iterator[None]:
    """Whatever goes wrong inside is the file's fault, in this part of it."""
    try:
        yield
    except KeyError as error:
        raise ModelFileError(
            f"the model file lacks {error} (reading its {part}): it was not written by kernpot; save the model again."
        ) from None
    except (KernpotError, ArithmeticError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"the part {part!r} of the model file cannot be used: {error}. The file is damaged or was "
            "not written by kernpot; save the model again, or refit it."
        ) from error


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _number(value: Any) -> float:
    number = float(value)
    _require(bool(np.isfinite(number)), f"{value!r} is not a finite number")
    return number


def _misfit_data(misfit: Misfit) -> dict[str, Any]:
    """JSON has no infinity: Gaussian tails are null."""
    nu = misfit.degrees_of_freedom
    return asdict(misfit) | {"degrees_of_freedom": nu if np.isfinite(nu) else None}


def _misfit(data: dict[str, Any]) -> Misfit:
    # Absent until labels had tails of their own.
    nu = data.get("degrees_of_freedom")
    numbers = {name: _number(value) for name, value in data.items() if name != "degrees_of_freedom"}
    misfit = Misfit(**numbers, degrees_of_freedom=np.inf if nu is None else _number(nu))
    _require(min(misfit.constant, misfit.factor, misfit.reach) >= 0, "a number is negative")
    _require(misfit.exponent == 1 or (misfit.exponent > 1 and misfit.reference > 0), "an exponent has no reference")
    _require(misfit.degrees_of_freedom >= LEAST, f"degrees of freedom are below {LEAST:g}")
    return misfit


def _tensor(tensors: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> Tensor:
    """A stored array of float64, with the shape expected (-1: any but 0)."""
    array = np.array(tensors[name])
    if array.size == 1 and not shape:
        array = array.reshape(())  # single numbers are stored with one dimension
    fits = array.ndim == len(shape) and all(n == m or (m < 0 < n) for n, m in zip(array.shape, shape, strict=True))
    expected = f"({', '.join('any' if n < 0 else str(n) for n in shape)})"
    _require(fits, f"{name} has the shape {array.shape}, expected {expected}")
    _require(array.dtype == np.float64, f"{name} has the type {array.dtype}, expected float64")
    _require(bool(np.isfinite(array).all()), f"{name} holds numbers that are not finite")
    return torch.from_numpy(array)


def _block(
    data: dict[str, Any],
    index: int,
    tensors: dict[str, NDArray[Any]],
    estimator: SparseGPPotential,
    before: list[InducingBlock],
) -> InducingBlock:
    name = f"environments.{index}"
    descriptor, element, zeta = (data[key] for key in ("descriptor", "element", "zeta"))
    _require(descriptor in range(len(estimator._features)), f"{name} is of the descriptor {descriptor!r}")
    kernel = estimator.kernels_[descriptor]
    _require(element in (kernel.elements or ()), f"{name} is of {element!r}, an element its kernel does not know")
    _require(zeta == kernel.zeta, f"{name} has the zeta {zeta!r}, its kernel {kernel.zeta}")
    n_features, basis = estimator._features[descriptor].n_features, None
    if data.get("in_basis", False):  # absent until there were bases
        basis = _tensor(tensors, f"basis.{index}", (n_features, -1))
        off = float((basis.T @ basis - torch.eye(basis.shape[1], dtype=torch.float64)).abs().max())
        _require(off < _ORTHONORMAL, f"basis.{index} is off orthonormal by {off:.1e}")
    u = _tensor(tensors, name, (-1, n_features if basis is None else basis.shape[1]))
    start = before[-1].columns.stop if before else 0
    return InducingBlock(int(descriptor), int(element), int(zeta), u, slice(start, start + len(u)), basis)


def _factor(name: str, tensors: dict[str, NDArray[Any]], blocks: list[InducingBlock]) -> LabelFactor:
    m = blocks[-1].columns.stop
    shapes: dict[str, tuple[int, ...]] = {
        "triangle": (m, m),
        "projected": (m,),
        "residual": (),
        "prior": (len(blocks),),
    }
    parts = {part: _tensor(tensors, f"{name}.{part}", shape) for part, shape in shapes.items()}
    parts["n_rows"] = torch.from_numpy(np.array(tensors[f"{name}.n_rows"]))
    return LabelFactor.from_tensors(parts)


def _kernel(data: dict[str, Any]) -> SOAPKernel:
    kernel = SOAPKernel(int(data["zeta"]), elements=data["elements"])
    amplitude = torch.tensor([_number(a) for a in data["amplitude"]], dtype=torch.float64)
    n = kernel.raw_amplitude.numel()
    _require(len(amplitude) == n and bool((amplitude > 0).all()), f"expected {n} positive amplitudes")
    kernel.set_amplitude(amplitude)
    if "raw_amplitude" in data:  # absent in older files
        raw = torch.tensor([_number(a) for a in data["raw_amplitude"]], dtype=torch.float64)
        kernel.initialize(raw_amplitude=raw)
        _require(bool(torch.allclose(kernel.amplitude, amplitude, rtol=1e-9)), "raw and other amplitudes differ")
    kernel.raw_amplitude.requires_grad_(not data["fixed"])
    return kernel

"""A fitted sparse Gaussian process as header and tensors, and back."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from kernpot.calibration.misfit import misfit_data, misfit_from
from kernpot.descriptors import SOAPFeatures
from kernpot.descriptors.serial import soap_from_dict, soap_to_dict
from kernpot.files.container import write_model
from kernpot.files.parts import UNITS, number, reading, require, tensor_of
from kernpot.files.training import pack, unpack
from kernpot.functionals.state import InducingBlock
from kernpot.gp.amplitudes import Hyperparameters
from kernpot.gp.rows.maker import RowMaker
from kernpot.gp.rows.whitening import Whitening
from kernpot.kernels import SOAPKernel
from kernpot.regression.factor import LabelFactor
from kernpot.structures.labels import LABEL_KINDS
from kernpot.structures.noise import NoiseModel, kind_of

if TYPE_CHECKING:
    from kernpot.gp.estimator import SparseGPPotential

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
        "units": UNITS,
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
        "misfit": {kind: misfit_data(misfit) for kind, misfit in estimator.misfit_.items()},
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
    with reading("descriptors"):
        soaps = [soap_from_dict(d) for d in header["descriptors"]]
        require(len(soaps) > 0, "it has none")
        estimator._features = [SOAPFeatures(s) for s in soaps]
    with reading("kernels"):
        estimator.kernels_ = [_kernel(k) for k in header["kernels"]]
        require(len(estimator.kernels_) == len(soaps), f"{len(soaps)} descriptors need as many")
    with reading("elements"):
        estimator.elements_ = tuple(int(z) for z in header["elements"])
        known = set.intersection(*(set(f.species) for f in estimator._features))
        require(bool(estimator.elements_) and set(estimator.elements_) <= known, "they are not the descriptors'")
    with reading("isolated_atoms"):
        estimator.isolated_atoms_ = {int(z): number(e) for z, e in header["isolated_atoms"].items()}
        require(set(estimator.elements_) <= set(estimator.isolated_atoms_), "an element has no energy")
    blocks: list[InducingBlock] = []
    with reading("blocks"):
        for b, data in enumerate(header["blocks"]):
            blocks.append(_block(data, b, tensors, estimator, blocks))
        require(len(blocks) > 0, "it has none")
    with reading("groups"):
        groups = [str(group) for group in header["groups"]]
        require(bool(groups) and len(set(groups)) == len(groups), "expected one or more different names")
        require({kind_of(group) for group in groups} <= set(LABEL_KINDS), f"unknown kind of label among {groups}")
    estimator._factors = {}
    for g, group in enumerate(groups):
        with reading(f"factor.{g}"):
            estimator._factors[group] = _factor(f"factor.{g}", tensors, blocks)
    with reading("noise"):
        estimator.noise_ = {str(k): number(v) for k, v in header["noise"].items()}
        require(set(groups) <= set(estimator.noise_), f"expected a level for each of {groups}")
        require(all(v > 0 for v in estimator.noise_.values()), "a level is not positive")
    with reading("misfit"):
        require(set(header["misfit"]) == set(LABEL_KINDS), f"expected {', '.join(LABEL_KINDS)}")
        estimator.misfit_ = {kind: misfit_from(data) for kind, data in header["misfit"].items()}
    with reading("summary"):
        estimator.summary_ = dict(header["summary"])
    with reading("log_evidence"):
        if header["log_evidence"] is not None:
            estimator.log_evidence_ = float(header["log_evidence"])
    with reading("noise_model"):
        noise = NoiseModel(**header["noise_model"])
    with reading("parameters"):
        parameters = {"n_components": None} | header["parameters"]
        require(set(parameters) == _PARAMETERS, f"expected {', '.join(sorted(_PARAMETERS))}")
        estimator.set_params(
            descriptor=soaps if len(soaps) > 1 else soaps[0],
            kernel=list(estimator.kernels_) if len(soaps) > 1 else estimator.kernels_[0],
            noise=noise,
            isolated_atoms=dict(estimator.isolated_atoms_),
            **parameters,
        )
        if header.get("as_given") is not None:  # absent until kernpot stored what a clone is fitted with
            estimator.set_params(**_given(header["as_given"], estimator.descriptor))
    with reading("training"):
        training = header.get("training")  # absent until kernpot stored the structures
        estimator._training = None if training is None else unpack(training, tensors)
    with reading("environments"):
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
        else {int(z) if z.isdigit() else z: number(e) for z, e in isolated.items()},
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


def _block(
    data: dict[str, Any],
    index: int,
    tensors: dict[str, NDArray[Any]],
    estimator: SparseGPPotential,
    before: list[InducingBlock],
) -> InducingBlock:
    name = f"environments.{index}"
    descriptor, element, zeta = (data[key] for key in ("descriptor", "element", "zeta"))
    require(descriptor in range(len(estimator._features)), f"{name} is of the descriptor {descriptor!r}")
    kernel = estimator.kernels_[descriptor]
    require(element in (kernel.elements or ()), f"{name} is of {element!r}, an element its kernel does not know")
    require(zeta == kernel.zeta, f"{name} has the zeta {zeta!r}, its kernel {kernel.zeta}")
    n_features, basis = estimator._features[descriptor].n_features, None
    if data.get("in_basis", False):  # absent until there were bases
        basis = tensor_of(tensors, f"basis.{index}", (n_features, -1))
        off = float((basis.T @ basis - torch.eye(basis.shape[1], dtype=torch.float64)).abs().max())
        require(off < _ORTHONORMAL, f"basis.{index} is off orthonormal by {off:.1e}")
    u = tensor_of(tensors, name, (-1, n_features if basis is None else basis.shape[1]))
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
    parts = {part: tensor_of(tensors, f"{name}.{part}", shape) for part, shape in shapes.items()}
    parts["n_rows"] = torch.from_numpy(np.array(tensors[f"{name}.n_rows"]))
    return LabelFactor.from_tensors(parts)


def _kernel(data: dict[str, Any]) -> SOAPKernel:
    kernel = SOAPKernel(int(data["zeta"]), elements=data["elements"])
    amplitude = torch.tensor([number(a) for a in data["amplitude"]], dtype=torch.float64)
    n = kernel.raw_amplitude.numel()
    require(len(amplitude) == n and bool((amplitude > 0).all()), f"expected {n} positive amplitudes")
    kernel.set_amplitude(amplitude)
    if "raw_amplitude" in data:  # absent in older files
        raw = torch.tensor([number(a) for a in data["raw_amplitude"]], dtype=torch.float64)
        kernel.initialize(raw_amplitude=raw)
        require(bool(torch.allclose(kernel.amplitude, amplitude, rtol=1e-9)), "raw and other amplitudes differ")
    kernel.raw_amplitude.requires_grad_(not data["fixed"])
    return kernel

"""A fitted sparse Gaussian process as header and tensors, and back."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from kernpot.descriptors import SOAPFeatures
from kernpot.descriptors.serial import soap_from_dict, soap_to_dict
from kernpot.errors import ModelFileError
from kernpot.functionals.state import InducingBlock
from kernpot.gp.compress import RowMaker
from kernpot.gp.factor import LabelFactor
from kernpot.gp.hyperparameters import Hyperparameters
from kernpot.gp.misfit import Misfit
from kernpot.gp.whitening import Whitening
from kernpot.kernels import SOAPKernel
from kernpot.storage import write_model
from kernpot.structures.noise import NoiseModel

if TYPE_CHECKING:
    from kernpot.gp.estimator import SparseGPPotential

_UNITS = {"energy": "eV", "length": "Angstrom", "forces": "eV/Angstrom", "stress": "eV/Angstrom^3"}


def save(estimator: SparseGPPotential, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator."""
    blocks = estimator._whitening.blocks
    tensors: dict[str, NDArray[Any]] = {f"environments.{b}": x.environments.numpy() for b, x in enumerate(blocks)}
    groups = list(estimator._factors)
    for g, group in enumerate(groups):
        for name, tensor in estimator._factors[group].as_tensors().items():
            tensors[f"factor.{g}.{name}"] = tensor.numpy()
    header = {
        "kind": "SparseGPPotential",
        "units": _UNITS,
        "elements": list(estimator.elements_),
        "isolated_atoms": {str(z): e for z, e in estimator.isolated_atoms_.items()},
        "descriptors": [soap_to_dict(f.soap) for f in estimator._features],
        "kernels": [
            {
                "zeta": k.zeta,
                "elements": list(k.elements or ()),
                "amplitude": k.amplitude.tolist(),
                "fixed": not k.raw_amplitude.requires_grad,
            }
            for k in estimator.kernels_
        ],
        "blocks": [{"descriptor": b.descriptor, "element": b.element, "zeta": b.zeta} for b in blocks],
        "groups": groups,
        "noise": dict(estimator.noise_),
        "misfit": {kind: asdict(misfit) for kind, misfit in estimator.misfit_.items()},
        "noise_model": asdict(estimator._maker.noise),
        "log_evidence": getattr(estimator, "log_evidence_", None),
        "n_inducing": estimator.n_inducing_,
        "parameters": {
            "n_inducing": int(estimator.n_inducing),
            "optimize": bool(estimator.optimize),
            "inducing": estimator.inducing if isinstance(estimator.inducing, str) else "fps",
            "random_state": estimator.random_state if isinstance(estimator.random_state, int) else None,
        },
        "summary": estimator.summary_,
    }
    write_model(path, header, tensors)


def restore(estimator: SparseGPPotential, header: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
    """Fill an estimator from a file's contents.

    Raises
    ------
    ModelFileError
        When a part is missing.
    """
    try:
        soaps = [soap_from_dict(d) for d in header["descriptors"]]
        estimator._features = [SOAPFeatures(s) for s in soaps]
        estimator.kernels_ = [_kernel(k) for k in header["kernels"]]
        blocks, start = [], 0
        for b, data in enumerate(header["blocks"]):
            u = torch.from_numpy(np.array(tensors[f"environments.{b}"]))
            columns = slice(start, start + len(u))
            blocks.append(InducingBlock(data["descriptor"], data["element"], data["zeta"], u, columns))
            start += len(u)
        estimator._factors = {}
        for g, group in enumerate(header["groups"]):
            names = ("triangle", "projected", "residual", "n_rows", "prior")
            parts = {name: torch.from_numpy(np.array(tensors[f"factor.{g}.{name}"])) for name in names}
            estimator._factors[group] = LabelFactor.from_tensors(parts)
        estimator.noise_ = {str(k): float(v) for k, v in header["noise"].items()}
        estimator.misfit_ = {str(kind): Misfit(**misfit) for kind, misfit in header["misfit"].items()}
        estimator.elements_ = tuple(int(z) for z in header["elements"])
        estimator.isolated_atoms_ = {int(z): float(e) for z, e in header["isolated_atoms"].items()}
        estimator.summary_ = dict(header["summary"])
        if header["log_evidence"] is not None:
            estimator.log_evidence_ = float(header["log_evidence"])
        noise = NoiseModel(**header["noise_model"])
        estimator.set_params(
            descriptor=soaps if len(soaps) > 1 else soaps[0],
            kernel=list(estimator.kernels_) if len(soaps) > 1 else estimator.kernels_[0],
            noise=noise,
            isolated_atoms=dict(estimator.isolated_atoms_),
            **header["parameters"],
        )
    except KeyError as error:
        raise ModelFileError(
            f"the model file lacks {error}: it was not written by kernpot; save the model again."
        ) from None
    estimator._whitening = Whitening(blocks)
    estimator._maker = RowMaker(estimator._features, estimator._whitening, noise, estimator.isolated_atoms_)
    estimator._hyperparameters = Hyperparameters(blocks, estimator.kernels_)


def _kernel(data: dict[str, Any]) -> SOAPKernel:
    kernel = SOAPKernel(int(data["zeta"]), elements=data["elements"])
    kernel.set_amplitude(torch.tensor(data["amplitude"], dtype=torch.float64))
    kernel.raw_amplitude.requires_grad_(not data["fixed"])
    return kernel

"""A fitted sparse Gaussian process as header and tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernpot.backend.randomness import Drawing
from kernpot.calibration.misfit import misfit_data, misfit_from
from kernpot.calibration.spread import Growth
from kernpot.calibration.unseen_pairs import unseen_pairs_data, unseen_pairs_from
from kernpot.descriptors import SOAPFeatures
from kernpot.descriptors.features import Features
from kernpot.files.functions import described, features_again
from kernpot.files.parts import (
    FILE_UNITS,
    elements_of,
    energies_of,
    factor_of,
    factor_tensors,
    number,
    reading,
    require,
    require_units,
    tensor_of,
)
from kernpot.files.training import pack, unpack
from kernpot.functionals.state import InducingBlock
from kernpot.gp.fitted import FittedGP, SharedDraws
from kernpot.gp.rows.whitening import Whitening
from kernpot.gp.settings import AUTO, MOST_DRAWS, check_settings
from kernpot.gp.upgrades import upgraded
from kernpot.kernels import CosineKernel, SOAPKernel
from kernpot.kernels.cosine_kernel import kernel_from_dict, kernel_to_dict
from kernpot.parameters import is_whole
from kernpot.structures.kinds import KINDS, LABEL_KINDS
from kernpot.structures.noise import LARGEST, NoiseModel, kind_of
from kernpot.structures.reference import checked_energies

# Rounding of products of orthonormal columns; a basis further off was not made by an orthogonalisation.
_ORTHONORMAL = 1e-9
_NOT_STORED = {"n_jobs": None, "progress": None, "trust_labels": False}
_PARAMETERS = {"n_inducing", "n_components", "n_draws", "error_bars", "optimize", "inducing", "random_state"}
# Before the names of tensors of what shared draws are drawn from.
_OF_SHARED = "shared."
_STEEPEST_SCALE = 1e5


def contents(parameters: Mapping[str, Any], fitted: FittedGP) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and tensors of a fitted model.

    Parameters
    ----------
    parameters : mapping
        Those of the estimator.
    fitted : FittedGP

    Raises
    ------
    KernpotError
        A kernel or a descriptor of one's own does not say how it is written, or parameters were changed to what cannot
        be read.
    """
    # Parameters may have been changed since the fit: what a file could not be read with is not written.
    check_settings(parameters)
    blocks = fitted.whitening.blocks
    tensors: dict[str, NDArray[Any]] = {f"environments.{b}": x.environments.numpy() for b, x in enumerate(blocks)}
    for g, factor in enumerate(fitted.factors.values()):
        tensors |= factor_tensors(f"factor.{g}", factor)
    tensors |= {f"basis.{b}": x.basis.numpy() for b, x in enumerate(blocks) if x.basis is not None}
    if fitted.pull is not None:
        tensors["pull"] = fitted.pull.numpy()
    left_out, residuals = _left_out_data(fitted.left_out)
    tensors |= residuals
    training: dict[str, Any] | None = None
    # Features that came with the structures do not come with their copies in a file.
    if fitted.training is not None and all(f.describes_anything for f in fitted.features):
        training, arrays = pack(fitted.training)
        tensors |= arrays
    seed, inducing = parameters["random_state"], parameters["inducing"]
    n_components = parameters["n_components"]
    header = {
        "kind": "SparseGPPotential",
        "schema_version": _schema(fitted),
        "units": FILE_UNITS,
        "elements": list(fitted.elements),
        "isolated_atoms": {str(z): e for z, e in fitted.isolated.items()},
        "descriptors": described(fitted.features, [s.atoms for s in fitted.training or ()]),
        "kernels": [kernel_to_dict(k) for k in fitted.kernels],
        "blocks": [_block_data(b) for b in blocks],
        "groups": list(fitted.factors),
        "noise": dict(fitted.noise),
        "misfit": {kind: misfit_data(misfit) for kind, misfit in fitted.misfit.items()},
        "noise_model": fitted.noise_model.to_dict(),
        "log_evidence": fitted.log_evidence,
        "n_inducing": fitted.n_inducing,
        "parameters": {
            "n_inducing": AUTO if parameters["n_inducing"] == AUTO else int(parameters["n_inducing"]),
            "n_components": None if n_components is None else int(n_components),
            "n_draws": int(parameters["n_draws"]),
            "error_bars": str(parameters["error_bars"]),
            "optimize": bool(parameters["optimize"]),
            "inducing": inducing if isinstance(inducing, str) else AUTO,
            "random_state": int(seed) if isinstance(seed, int | np.integer) else None,
        },
        "as_given": _as_given(parameters),
        "summary": fitted.summary,
        "left_out": left_out,
        "training": training,
        "shared": None,
        "unseen_pairs": unseen_pairs_data(fitted.unseen_pairs),
    }
    if fitted.shared is not None:
        header["shared"], more = _shared_contents(parameters, fitted, fitted.shared)
        tensors |= more
    return header, tensors


def _shared_contents(
    parameters: Mapping[str, Any], fitted: FittedGP, shared: SharedDraws
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and tensors of shared draws."""
    (features,) = shared.source.features
    own = {"descriptor": features.descriptor, "kernel": None, "n_inducing": shared.source.n_inducing}
    header, tensors = contents({**parameters, **own, "n_components": None, "inducing": "fps"}, shared.source)
    # A descriptor that there is no coarse version of is the model's, which may have to be given again.
    same = next((d for d, f in enumerate(fitted.features) if f is features), None)
    growth = None if shared.growth is None else list(shared.growth)
    told: dict[str, Any] = {"n": shared.n, "seed": shared.seed, "scale": shared.scale, "growth": growth}
    told |= {"descriptor": same, "source": header}
    return told, {_OF_SHARED + name: array for name, array in tensors.items()}


def _shared(data: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], features: Sequence[Features]) -> SharedDraws:
    n, seed, same, scale = data["n"], data["seed"], data["descriptor"], number(data["scale"])
    require(is_whole(n, 1, MOST_DRAWS) and is_whole(seed, 0), "the number of draws or their seed is none")
    require(1 <= scale <= _STEEPEST_SCALE, f"the scale of the draws is {scale}")
    require(same is None or same in range(len(features)), f"they are of the descriptor {same!r}")
    own = {name[len(_OF_SHARED) :]: array for name, array in tensors.items() if name.startswith(_OF_SHARED)}
    _, source = restored(data["source"], own, ready=None if same is None else (features[same],))
    growth = None if data["growth"] is None else Growth(*map(number, data["growth"]))
    require(growth is None or (0 <= growth.exponent <= 1 and growth.reference > 0), f"their growth is {growth}")
    return SharedDraws(source, n, seed, scale, growth)


def restored(
    header: dict[str, Any],
    tensors: dict[str, NDArray[Any]],
    descriptor: Any = None,
    ready: tuple[Features, ...] | None = None,
) -> tuple[dict[str, Any], FittedGP]:
    """Parameters of the estimator, and its fitted model, from a file's contents.

    Parameters
    ----------
    descriptor : Features or list of Features, optional
        Given again, as no file holds them.
    ready : tuple of Features, optional
        Those of the model, where they are at hand.

    Raises
    ------
    ModelFileError
        When a part is missing, is of another type, or does not fit the others.
    """
    header = upgraded(header)
    require_units(header)
    with reading("descriptors"):
        features = features_again(header["descriptors"], descriptor) if ready is None else ready
    with reading("kernels"):
        kernels = tuple(kernel_from_dict(k) for k in header["kernels"])
        require(len(kernels) == len(features), f"{len(features)} descriptors need as many")
    with reading("elements"):
        elements = elements_of(header["elements"])
        known = set.intersection(*(set(f.species) for f in features))
        require(set(elements) <= known, "they are not the descriptors'")
    with reading("isolated_atoms"):
        isolated = checked_energies(energies_of(header["isolated_atoms"]))
        require(set(elements) <= set(isolated), "an element has no energy")
    blocks: list[InducingBlock] = []
    with reading("blocks"):
        for b, data in enumerate(header["blocks"]):
            blocks.append(_block(data, b, tensors, features, kernels, blocks))
        require(len(blocks) > 0, "it has none")
        covered = {block.element for block in blocks}
        require(covered == set(elements), f"they are of {sorted(covered)}, the elements are {list(elements)}")
        n = blocks[-1].columns.stop
        require(header["n_inducing"] == n, f"they have {n} environments, n_inducing is {header['n_inducing']!r}")
    with reading("groups"):
        groups = [str(group) for group in header["groups"]]
        require(bool(groups) and len(set(groups)) == len(groups), "expected one or more different names")
        unknown = {kind_of(group) for group in groups} - set(KINDS)
        require(
            not unknown, f"unknown kind of label among {groups}; import the module that registers it before loading"
        )
    factors = {}
    for g, group in enumerate(groups):
        with reading(f"factor.{g}"):
            factors[group] = factor_of(f"factor.{g}", tensors, blocks[-1].columns.stop, len(blocks))
    with reading("noise"):
        noise = {str(k): number(v) for k, v in header["noise"].items()}
        require(set(groups) <= set(noise), f"expected a level for each of {groups}")
        require(all(0 < v <= LARGEST for v in noise.values()), f"a level is not positive, or above {LARGEST:g}")
        require("energy" in {kind_of(group) for group in noise}, "energies have no level")
    with reading("misfit"):
        expected = {*LABEL_KINDS, *(kind_of(group) for group in groups)}
        require(set(header["misfit"]) >= expected, f"expected {', '.join(sorted(expected))}")
        misfit = {kind: misfit_from(data) for kind, data in header["misfit"].items()}
    with reading("summary"):
        summary = dict(header["summary"])
    with reading("log_evidence"):
        if header["log_evidence"] is not None:
            number(header["log_evidence"])
    with reading("noise_model"):
        noise_model = NoiseModel.from_dict(header["noise_model"])
    with reading("parameters"):
        parameters = _parameters(header, features, kernels, noise_model, isolated)
        check_settings(parameters | _NOT_STORED)
        Drawing(parameters["random_state"])
    with reading("training"):
        training = None if header["training"] is None else tuple(unpack(header["training"], tensors))
    with reading("environments"):
        whitening = Whitening(blocks)
    pull = None
    with reading("pull"):
        if "pull" in tensors:  # absent before draws knew of it
            pull = tensor_of(tensors, "pull", (blocks[-1].columns.stop,))
    with reading("left_out"):
        left_out = _left_out(header.get("left_out"), tensors)  # absent before means left the inducing environments
    with reading("shared"):
        told = header.get("shared")  # absent before there were fast error bars
        shared = None if told is None else _shared(told, tensors, features)
    with reading("unseen_pairs"):
        unseen = unseen_pairs_from(header.get("unseen_pairs"))  # absent before error bars knew of them
        cutoff = max(f.cutoff for f in features)
        require(
            unseen is None or abs(unseen.cutoff - cutoff) < 1e-6, f"their cutoff is not that of the model, {cutoff}"
        )
    fitted = FittedGP(
        features,
        kernels,
        whitening,
        noise_model,
        isolated,
        elements,
        factors,
        noise,
        misfit,
        training,
        summary,
        pull,
        left_out=left_out,
        shared=shared,
        unseen_pairs=unseen,
    )
    return parameters, fitted.ready()


def _left_out_data(
    left_out: Mapping[int, Mapping[str, Tensor]] | None,
) -> tuple[dict[str, Any] | None, dict[str, NDArray[Any]]]:
    """By kind, places and sizes of residuals, and their values one after the other."""
    if left_out is None:
        return None, {}
    kinds = sorted({kind for of_kinds in left_out.values() for kind in of_kinds})
    header: dict[str, Any] = {}
    tensors = {}
    for kind in kinds:
        found = {place: of_kinds[kind] for place, of_kinds in left_out.items() if kind in of_kinds}
        header[kind] = {"places": list(found), "sizes": [len(values) for values in found.values()]}
        tensors[f"left_out.{kind}"] = torch.cat(list(found.values())).numpy()
    return header, tensors


def _left_out(
    header: Mapping[str, Any] | None, tensors: dict[str, NDArray[Any]]
) -> dict[int, dict[str, Tensor]] | None:
    if header is None:
        return None
    found: dict[int, dict[str, Tensor]] = {}
    for kind, told in header.items():
        places, sizes = ([int(k) for k in told[name]] for name in ("places", "sizes"))
        require(len(places) == len(sizes) == len(set(places)), f"expected as many sizes as places of {kind}")
        require(min(places) >= 0 and min(sizes) > 0, f"a place or a size of {kind} is negative, or there is none")
        values = tensor_of(tensors, f"left_out.{kind}", (sum(sizes),))
        for place, part in zip(places, values.split(sizes), strict=True):
            found.setdefault(place, {})[kind] = part
    return found


def _schema(fitted: FittedGP) -> int:
    """The oldest schema that can tell of everything in a model."""
    plain = all(type(k) is SOAPKernel for k in fitted.kernels) and fitted.kinds <= set(LABEL_KINDS)
    return 1 if plain and all(isinstance(f, SOAPFeatures) for f in fitted.features) else 2


def _parameters(
    header: dict[str, Any],
    features: Sequence[Features],
    kernels: Sequence[CosineKernel],
    noise_model: NoiseModel,
    isolated: dict[int, float],
) -> dict[str, Any]:
    """As the user gave them, as far as the file tells; else what a fit made of them."""
    parameters = dict(header["parameters"])
    require(set(parameters) == _PARAMETERS, f"expected {', '.join(sorted(_PARAMETERS))}")
    require(isinstance(parameters["inducing"], str), "expected the way in which inducing environments are chosen")
    several = len(features) > 1
    parameters |= {
        "descriptor": [f.descriptor for f in features] if several else features[0].descriptor,
        "kernel": list(kernels) if several else kernels[0],
        "noise": noise_model,
        "isolated_atoms": dict(isolated),
    }
    data = header["as_given"]
    if data is None:
        return parameters
    given = None if data["kernel"] is None else [kernel_from_dict(k) for k in data["kernel"]]
    require(given is None or len(given) > 0, "expected a kernel or several, got an empty list")
    atoms = data["isolated_atoms"]
    return parameters | {
        "descriptor": None if data["default_descriptor"] else parameters["descriptor"],
        "kernel": given[0] if given is not None and len(given) == 1 else given,
        "noise": None if data["noise"] is None else NoiseModel.from_user(data["noise"]),
        "isolated_atoms": None if atoms is None else energies_of(atoms),
    }


def _as_given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as the user gave them: a clone is fitted with these, not with what the fit made of them."""
    kernel, noise, isolated = (parameters[name] for name in ("kernel", "noise", "isolated_atoms"))
    kernels = [kernel] if isinstance(kernel, CosineKernel) else kernel
    return {
        "default_descriptor": parameters["descriptor"] is None,
        "kernel": None if kernels is None else [kernel_to_dict(k) for k in kernels],
        "noise": None if noise is None else NoiseModel.from_user(noise).to_dict(),
        "isolated_atoms": None if isolated is None else {str(z): float(e) for z, e in isolated.items()},
    }


def _block_data(block: InducingBlock) -> dict[str, Any]:
    """Which of its kernel's functions it is of is told where there are several."""
    data: dict[str, Any] = {
        "descriptor": block.descriptor,
        "element": block.element,
        "zeta": block.function.power,
        "in_basis": block.basis is not None,
    }
    return data | ({"term": block.term} if block.term else {})


def _block(
    data: dict[str, Any],
    index: int,
    tensors: dict[str, NDArray[Any]],
    features: Sequence[Features],
    kernels: Sequence[CosineKernel],
    before: list[InducingBlock],
) -> InducingBlock:
    name = f"environments.{index}"
    descriptor, element, zeta, term = data["descriptor"], data["element"], data["zeta"], data.get("term", 0)
    require(descriptor in range(len(features)), f"{name} is of the descriptor {descriptor!r}")
    kernel = kernels[descriptor]
    require(element in (kernel.elements or ()), f"{name} is of {element!r}, an element its kernel does not know")
    require(term in range(len(kernel.functions)), f"{name} is of the function {term!r}, which its kernel does not have")
    function = kernel.functions[term]
    require(zeta == function.power, f"{name} has the zeta {zeta!r}, its kernel {function.power}")
    n_features, basis = features[descriptor].n_features, None
    if data["in_basis"]:
        basis = tensor_of(tensors, f"basis.{index}", (n_features, -1))
        off = float((basis.T @ basis - torch.eye(basis.shape[1], dtype=torch.float64)).abs().max())
        require(off < _ORTHONORMAL, f"basis.{index} is off orthonormal by {off:.1e}")
    u = tensor_of(tensors, name, (-1, n_features if basis is None else basis.shape[1]))
    start = before[-1].columns.stop if before else 0
    return InducingBlock(int(descriptor), int(element), function, u, slice(start, start + len(u)), basis, int(term))

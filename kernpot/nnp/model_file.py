"""A fitted ensemble as header and tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernpot.backend.randomness import Drawing
from kernpot.calibration.misfit import misfit_data, misfit_from
from kernpot.descriptors import ACSFFeatures, SOAPFeatures
from kernpot.errors import DescriptorError
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
from kernpot.nnp.fitted import FittedNNP, Trained
from kernpot.nnp.inputs import Inputs
from kernpot.nnp.networks import Networks, check_activation
from kernpot.nnp.settings import check_settings
from kernpot.nnp.targets import Scales
from kernpot.structures.kinds import LABEL_KINDS
from kernpot.structures.noise import LARGEST, NoiseModel, kind_of
from kernpot.structures.reference import checked_energies

_PARAMETERS = {
    "hidden", "n_members", "uncertainty", "activation", "n_components", "resample", "validation", "max_epochs",
    "batch_size", "learning_rate", "schedule", "patience", "random_state",
}  # fmt: skip


def contents(given: Mapping[str, Any], fitted: FittedNNP) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and tensors of a fitted ensemble.

    Parameters
    ----------
    given : mapping
        Parameters of the estimator.
    fitted : FittedNNP

    Raises
    ------
    KernpotError
        A descriptor of one's own does not say how it is written, or parameters were changed to what cannot be read.
    """
    trained = fitted.trained
    # Parameters may have been changed since the fit: what a file could not be read with is not written.
    check_settings(given)
    tensors: dict[str, NDArray[Any]] = {}
    for z, net in trained.networks.items():
        tensors[f"inputs.{z}.mean"] = trained.inputs[z].mean.numpy()
        tensors[f"inputs.{z}.projection"] = trained.inputs[z].projection.numpy()
        for k, tensor in enumerate(net.tensors):
            tensors[f"network.{z}.{k}"] = tensor.numpy()
    groups = list(trained.factors or ())
    for g, group in enumerate(groups):
        tensors |= factor_tensors(f"factor.{g}", (trained.factors or {})[group])
    tensors["member_weights"] = trained.weights
    if not trained.features.describes_anything:
        raise DescriptorError(
            "networks are stored with the structures they train on; features that are arrays do not come with them: "
            "give a function of the structure, GivenFeatures(function, ...)."
        )
    training, arrays = pack(trained.labelled)
    first = next(iter(trained.networks.values()))
    parameters = {name: given[name] for name in _PARAMETERS}
    seed = parameters["random_state"]
    header = {
        "kind": "NNPEnsemble",
        "schema_version": 1 if isinstance(trained.features, SOAPFeatures | ACSFFeatures) else 2,
        "units": FILE_UNITS,
        "elements": list(fitted.elements),
        "isolated_atoms": {str(z): e for z, e in trained.isolated.items()},
        "descriptors": described([trained.features], [s.atoms for s in trained.labelled]),
        "noise": dict(trained.levels),
        "misfit": {kind: misfit_data(misfit) for kind, misfit in fitted.misfit.items()},
        "noise_model": trained.noise.to_dict(),
        "parameters": parameters
        | {
            "hidden": [int(width) for width in given["hidden"]],
            "random_state": int(seed) if isinstance(seed, int | np.integer) else None,
        },
        "as_given": {
            "default_descriptor": given["descriptor"] is None,
            "noise": None if given["noise"] is None else NoiseModel.from_user(given["noise"]).to_dict(),
            "isolated_atoms": None
            if given["isolated_atoms"] is None
            else {str(z): float(e) for z, e in given["isolated_atoms"].items()},
        },
        "networks": {
            "hidden": [w.shape[2] for w in first.weights],
            "members": first.n_members,
            "bodies": len(first.weights[0]),
            "activation": first.activation,
        },
        "scales": {
            "unit": trained.scales.unit,
            "offsets": {str(z): e for z, e in trained.scales.offsets.items()},
            "levels": trained.scales.levels,
        },
        "held_out": trained.held.tolist(),
        "groups": groups,
        "amplitude": trained.amplitude,
        "summary": fitted.summary,
        "training": training,
        "sections": {
            "Networks": [
                ["Inputs", ", ".join(str(i.projection.shape[1]) for i in trained.inputs.values())],
                ["Hidden layers", ", ".join(str(w.shape[2]) for w in first.weights)],
                ["Activation", first.activation],
                ["Uncertainty", _uncertainty(trained)],
                ["Held out", f"{len(trained.held)} structures"],
            ]
        },
    }
    return header, tensors | arrays


def restored(
    header: dict[str, Any], tensors: dict[str, NDArray[Any]], descriptor: Any = None
) -> tuple[dict[str, Any], FittedNNP]:
    """Parameters of the estimator, and its fitted ensemble, from a file's contents.

    Parameters
    ----------
    descriptor : Features, optional
        Given again, as no file holds it.

    Raises
    ------
    ModelFileError
        When a part is missing, is of another type, or does not fit the others.
    """
    require_units(header)
    with reading("descriptors"):
        (features,) = features_again(header["descriptors"], descriptor)
    with reading("elements"):
        elements = elements_of(header["elements"])
        require(set(elements) <= set(features.species), "they are not the descriptor's")
    with reading("isolated_atoms"):
        isolated = checked_energies(energies_of(header["isolated_atoms"]))
        require(set(elements) <= set(isolated), "an element has no energy")
    with reading("parameters"):
        parameters = dict(header["parameters"])
        require(set(parameters) == _PARAMETERS, f"expected {', '.join(sorted(_PARAMETERS))}")
        given = header["as_given"]
        noise, atoms = given["noise"], given["isolated_atoms"]
        parameters |= {
            "descriptor": None if given["default_descriptor"] else features.descriptor,
            "noise": None if noise is None else NoiseModel.from_user(noise),
            "isolated_atoms": None if atoms is None else energies_of(atoms),
            "hidden": tuple(parameters["hidden"]),
        }
        check_settings(parameters | {"checkpoint": None, "progress": None, "trust_labels": False})
        Drawing(parameters["random_state"])
    with reading("networks"):
        form = header["networks"]
        check_activation(form["activation"])
        require(form["members"] >= 1 and form["bodies"] in (1, form["members"]), "members do not fit the bodies")
        inputs = {z: _inputs(z, tensors, features.n_features) for z in elements}
        networks = {z: _networks(z, tensors, inputs[z], form) for z in elements}
    with reading("scales"):
        scales = header["scales"]
        scales = Scales(
            number(scales["unit"]),
            {int(z): number(e) for z, e in scales["offsets"].items()},
            {str(group): number(level) for group, level in scales["levels"].items()},
        )
        require(all(level > 0 for level in scales.levels.values()), "a level is not positive")
        require(scales.unit > 0 and set(scales.offsets) == set(elements), "they are not those of the elements")
    with reading("noise"):
        levels = {str(group): number(level) for group, level in header["noise"].items()}
        require(all(0 < v <= LARGEST for v in levels.values()), f"a level is not positive, or above {LARGEST:g}")
        require({kind_of(group) for group in levels} <= set(LABEL_KINDS), f"unknown kind of label in {list(levels)}")
        require("energy" in {kind_of(group) for group in levels}, "energies have no level")
        amplitude = number(header["amplitude"])
        require(amplitude > 0, "the amplitude is not positive")
        noise_model = NoiseModel.from_dict(header["noise_model"])
    with reading("factors"):
        size = sum(n.head.shape[1] + 1 for n in networks.values())
        groups = [str(group) for group in header["groups"]]
        require(set(groups) <= set(levels), f"expected a level for each of {groups}")
        require(bool(groups) == (form["members"] == 1), "rows belong to a single member, and it to them")
        factors = {group: factor_of(f"factor.{g}", tensors, size, 1) for g, group in enumerate(groups)} or None
    with reading("misfit"):
        require(set(header["misfit"]) == set(LABEL_KINDS), f"expected {', '.join(LABEL_KINDS)}")
        misfit = {kind: misfit_from(data) for kind, data in header["misfit"].items()}
    with reading("training"):
        labelled = unpack(header["training"], tensors)
        require(all(type(k) is int for k in header["held_out"]), "held-out structures are told by their place")
        held = np.array(header["held_out"], dtype=np.int64)
        require(bool(np.isin(held, np.arange(len(labelled))).all()), "held-out structures are not among them")
        n_members = next(iter(networks.values())).n_members
        weights = tensor_of(tensors, "member_weights", (n_members, len(labelled))).numpy()
        require(bool((weights >= 0).all() and not weights[:, held].any()), "members train on what is held out")
    with reading("summary"):
        summary = dict(header["summary"])
    trained = Trained(
        features, inputs, networks, scales, isolated, noise_model, labelled, held, weights, factors, levels, amplitude
    )
    return parameters, FittedNNP(trained, misfit, summary)


def _inputs(z: int, tensors: dict[str, NDArray[Any]], n_features: int) -> Inputs:
    mean = tensor_of(tensors, f"inputs.{z}.mean", (n_features,))
    return Inputs(mean, tensor_of(tensors, f"inputs.{z}.projection", (n_features, -1)))


def _networks(z: int, tensors: dict[str, NDArray[Any]], inputs: Inputs, form: dict[str, Any]) -> Networks:
    sizes = [inputs.projection.shape[1], *(int(width) for width in form["hidden"])]
    members, bodies, n = int(form["members"]), int(form["bodies"]), len(sizes) - 1
    require(n >= 1 and min(sizes) >= 1, "expected one or more hidden layers")
    weights = [tensor_of(tensors, f"network.{z}.{k}", (bodies, sizes[k], sizes[k + 1])) for k in range(n)]
    biases = [tensor_of(tensors, f"network.{z}.{n + k}", (bodies, 1, sizes[k + 1])) for k in range(n)]
    head = tensor_of(tensors, f"network.{z}.{2 * n}", (members, sizes[-1], 1))
    offset = tensor_of(tensors, f"network.{z}.{2 * n + 1}", (members, 1, 1))
    return Networks(weights, biases, head, offset, form["activation"])


def _uncertainty(trained: Trained) -> str:
    """What the networks were trained for, whatever the parameter says by now."""
    first = next(iter(trained.networks.values()))
    if trained.factors is not None:
        return "last_layer"
    return "ensemble" if len(first.weights[0]) == first.n_members else "shallow"

"""From labelled structures to trained networks."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kernpot.backend.summary import data_hash
from kernpot.descriptors import Features
from kernpot.errors import KernpotWarning
from kernpot.nnp.checkpoint import Checkpoint
from kernpot.nnp.derivatives import describe
from kernpot.nnp.descriptions import Descriptions
from kernpot.nnp.fitted import Trained
from kernpot.nnp.inputs import Inputs, fit_inputs
from kernpot.nnp.last_layer import HiddenRows, compress, learn
from kernpot.nnp.members import in_ev, potentials_of
from kernpot.nnp.networks import random_networks
from kernpot.nnp.splits import FEWEST, held_out, member_weights, more_weights, n_wanted, unit_of, usable
from kernpot.nnp.targets import scales_of, targets_of
from kernpot.nnp.training import Settings, Trainer
from kernpot.progress import Report
from kernpot.structures.identity import identity
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import NoiseModel
from kernpot.structures.reference import is_isolated_atom, isolated_atom_energies

# Epochs where none are given: enough for so many steps, and no fewer than so many.
_STEPS, _FEWEST_EPOCHS = 4000, 100
# More labels are learnt with this part of the epochs, and at least so many steps, at this part of the learning rate.
_UPDATE_EPOCHS, _UPDATE_STEPS, _UPDATE_RATE = 0.1, 300, 0.3


def train(
    labelled: list[LabelledStructure],
    features: Features,
    noise: NoiseModel,
    parameters: Mapping[str, Any],
    rng: np.random.RandomState,
    report: Report | None,
    n_threads: int,
) -> tuple[Trained, dict[str, Any]]:
    """Train from nothing; also what there is to tell of how it went."""
    elements = tuple(sorted({int(z) for s in labelled for z in s.atoms.numbers}))
    isolated = isolated_atom_energies(labelled, parameters["isolated_atoms"])
    held = held_out(labelled, parameters["validation"], rng)
    shared = parameters["uncertainty"] == "shallow"
    n_members = 1 if parameters["uncertainty"] == "last_layer" else int(parameters["n_members"])
    seeds = rng.randint(2**31 - 1, size=n_members + 1)
    trainable = usable(labelled)
    if parameters["validation"] > 0:
        _warn_of_nothing_held_out(labelled, held)
    learning = np.setdiff1d(trainable, held)
    weights = np.zeros((n_members, len(labelled)))
    resample = parameters["resample"] or ("bootstrap" if shared else None)
    weights[:, learning] = member_weights(len(learning), n_members, resample, rng)
    checkpoint = Checkpoint(parameters["checkpoint"], _identity(labelled, features, parameters, seeds, weights))
    checkpoint.read()
    structures = Descriptions(features, [s.atoms for s in labelled])
    inputs = _inputs(labelled, learning, structures, elements, int(parameters["n_components"]))
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds[:-1]]
    networks = {
        z: random_networks(
            inputs[z].projection.shape[1], parameters["hidden"], n_members, shared, parameters["activation"], generators
        )
        for z in elements
    }
    scales = scales_of([labelled[k] for k in trainable], noise, isolated, elements)
    # Groups that only isolated atoms have are in no training, but are among the labels.
    levels = scales_of(labelled, noise, isolated, elements).levels | scales.levels
    scales = replace(scales, levels=levels)
    start = Trained(features, inputs, networks, scales, isolated, noise, labelled, held, weights, None, levels, 1.0)
    n_epochs = _epochs(parameters, len(learning))
    trained, told = _trained(
        start, structures, parameters, n_epochs, 1.0, int(seeds[-1]), checkpoint, report, n_threads
    )
    if parameters["uncertainty"] == "last_layer":
        trained = _with_last_layer(trained, learning, report)
    return trained, told


def train_more(
    trained: Trained,
    new: Sequence[LabelledStructure],
    parameters: Mapping[str, Any],
    report: Report | None,
    n_threads: int,
) -> tuple[Trained, dict[str, Any]]:
    """Learn more labels: exactly, by rows of the last layer; or from where the members are, with the old ones."""
    labelled = [*trained.labelled, *new]
    # What was held out and is now to be learnt says nothing of structures to come any more.
    seen = {identity(s.atoms) for s in new}
    held = np.array([k for k in trained.held if identity(labelled[k].atoms) not in seen], dtype=np.int64)
    held = np.concatenate([held, _more_held(trained, labelled, len(held), float(parameters["validation"]))])
    if len(trained.held):
        _warn_of_nothing_held_out(labelled, held)
    levels = scales_of(labelled, trained.noise, trained.isolated, tuple(trained.scales.offsets)).levels
    levels = levels | trained.levels
    if trained.factors is not None:
        network = potentials_of(trained.features, trained.inputs, trained.networks, trained.zero)
        rows = HiddenRows(trained.features, trained.inputs, trained.networks)
        factors = dict(trained.factors)
        first = len(trained.labelled)
        learnt = [labelled[k] for k in np.setdiff1d(usable(labelled), held) if k >= first]
        weights = _more_weights(trained, labelled, held, None)
        for group, factor in compress(learnt, rows, network, trained.noise, report).items():
            if group in factors:
                factors[group] = factors[group].merged(factor)
            else:
                factors[group] = factor
        changed = replace(trained, labelled=labelled, held=held, weights=weights, factors=factors, levels=levels)
        return changed, {}
    resample = parameters["resample"] or ("bootstrap" if parameters["uncertainty"] == "shallow" else None)
    weights = _more_weights(trained, labelled, held, resample)
    scales = replace(trained.scales, levels=levels)
    before = replace(trained, labelled=labelled, held=held, weights=weights, scales=scales, levels=levels)
    n_learning = int(weights.any(0).sum())
    steps = -(-n_learning // int(parameters["batch_size"]))
    n_epochs = max(round(_UPDATE_EPOCHS * _epochs(parameters, n_learning)), -(-_UPDATE_STEPS // steps))
    structures = Descriptions(trained.features, [s.atoms for s in labelled])
    return _trained(before, structures, parameters, n_epochs, _UPDATE_RATE, len(labelled), None, report, n_threads)


def _warn_of_nothing_held_out(labelled: Sequence[LabelledStructure], held: NDArray[np.int64]) -> None:
    if not len(held):
        few = len(usable(labelled)) < FEWEST
        why = "are too few" if few else "are of one trajectory, copies, or hold the only one of an element"
        warnings.warn(
            f"none of the {len(labelled)} structures could be held out from the training, as they {why}: nothing tells "
            "how large errors are, and error bars are a guess from the noise levels. Fit more, or calibrate(held_out) "
            "with some that were not in the fit.",
            KernpotWarning,
            stacklevel=5,
        )


def _more_held(trained: Trained, labelled: Sequence[LabelledStructure], n_held: int, part: float) -> NDArray[np.int64]:
    """Of many new structures some are held out where the old ones are too few, at most one in four.

    Frames of trajectories and copies of structures that are trained on are not: they say nothing of structures to come.
    """
    first = len(trained.labelled)
    seen = Counter(unit_of(s) for s in labelled)
    new = [k for k in usable(labelled) if k >= first]
    single = [k for k in new if "trajectory" not in labelled[k].atoms.info and seen[unit_of(labelled[k])] == 1]
    n = min(max(n_wanted(len(labelled), part) - n_held, 0), len(new) // 4, len(single))
    return np.sort(np.random.RandomState(len(labelled)).permutation(np.array(single, dtype=np.int64))[:n])


def _more_weights(
    trained: Trained, labelled: Sequence[LabelledStructure], held: NDArray[np.int64], resample: str | None
) -> NDArray[np.float64]:
    """Weights of the members with those of new structures, as the old ones were drawn."""
    n_members, n_old = trained.weights.shape
    rng = np.random.RandomState(len(labelled))
    weights = np.concatenate([trained.weights, more_weights(len(labelled) - n_old, n_members, resample, rng)], axis=1)
    alone = np.setdiff1d(np.arange(n_old, len(labelled)), usable(labelled))
    weights[:, alone] = 0.0
    weights[:, held] = 0.0
    return weights


def _epochs(parameters: Mapping[str, Any], n_structures: int) -> int:
    """Epochs of a fit."""
    steps = -(-n_structures // int(parameters["batch_size"]))
    return int(parameters["max_epochs"] or max(_FEWEST_EPOCHS, -(-_STEPS // steps)))


def _trained(
    start: Trained,
    structures: Descriptions,
    parameters: Mapping[str, Any],
    n_epochs: int,
    rate: float,
    seed: int,
    checkpoint: Checkpoint | None,
    report: Report | None,
    n_threads: int,
) -> tuple[Trained, dict[str, Any]]:
    unit = start.scales.unit
    data = describe(structures, start.inputs, report, n_threads)
    targets = targets_of(start.labelled, start.noise, start.scales, start.isolated)
    # Weights come in as they are trained: energies in units of the scale.
    networks = (
        start.networks if checkpoint is not None else {z: in_ev(n, 1.0 / unit) for z, n in start.networks.items()}
    )
    settings = Settings(
        n_epochs,
        int(parameters["batch_size"]),
        rate * float(parameters["learning_rate"]),
        parameters["schedule"],
        int(parameters["patience"] or n_epochs),
        seed,
    )
    # An update has nothing to stop by: what is held out from it does not hold what is new.
    held = start.held if checkpoint is not None else np.empty(0, dtype=np.int64)
    trainer = Trainer(networks, data, targets, start.weights, held, settings, n_threads)
    if checkpoint is not None:
        checkpoint.restore(trainer)
    while not trainer.done:
        trainer.epoch()
        if checkpoint is not None:
            checkpoint.write(trainer)
        if report is not None:
            report("training", trainer.progress.epoch, n_epochs)
    if report is not None:
        report("training", n_epochs, n_epochs)
    at = trainer.progress
    found = {z: in_ev(n, unit) for z, n in trainer.networks().items()}
    told = {
        "epochs": at.epoch,
        "best_epochs": at.best_epoch.tolist(),
        "steps": trainer.optimiser.steps,
        "learning_curve": [[float(f"{x:.4g}") if np.isfinite(x) else None for x in pair] for pair in at.history],
    }
    return replace(start, networks=found), told


def _with_last_layer(trained: Trained, learning: NDArray[np.int64], report: Report | None) -> Trained:
    network = potentials_of(trained.features, trained.inputs, trained.networks, trained.zero)
    rows = HiddenRows(trained.features, trained.inputs, trained.networks)
    factors = compress([trained.labelled[k] for k in learning], rows, network, trained.noise, report)
    levels, amplitude = learn(factors, trained.levels, set(trained.noise.fixed), trained.scales.unit)
    return replace(trained, factors=factors, levels=trained.levels | levels, amplitude=amplitude)


def _inputs(
    labelled: Sequence[LabelledStructure],
    learning: NDArray[np.int64],
    structures: Descriptions,
    elements: Sequence[int],
    n_components: int,
) -> dict[int, Inputs]:
    """Inputs of every element from its training environments."""
    found: dict[int, list[torch.Tensor]] = {z: [] for z in elements}
    for k in learning:
        x, numbers = structures.features(int(k)), structures.numbers(int(k))
        for z in torch.unique(numbers).tolist():
            found[z].append(x[numbers == z])
    # An element that occurs as an isolated atom only.
    alone = {int(s.atoms.numbers[0]): k for k, s in enumerate(labelled) if is_isolated_atom(s)}
    for z in elements:
        found[z] = found[z] or [structures.features(alone[z])]
    return {z: fit_inputs(x, n_components) for z, x in found.items()}


def _identity(
    labelled: Sequence[LabelledStructure],
    features: Features,
    parameters: Mapping[str, Any],
    seeds: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> dict[str, Any]:
    """What decides the result of a training."""
    apart = {"progress", "checkpoint", "random_state", "descriptor", "trust_labels"}
    told = {name: repr(value) for name, value in parameters.items() if name not in apart}
    labels = {
        "data": data_hash(labelled),
        "noise_scale": [s.noise_scale for s in labelled],
        "config_type": [s.config_type for s in labelled],
        "weights": weights.tolist(),
    }
    return told | labels | {"descriptor": features.to_dict(), "seeds": seeds.tolist()}

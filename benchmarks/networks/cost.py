"""What members cost: an epoch of training, a mean, and a prediction with error bars, for one to sixteen networks.

    OMP_NUM_THREADS=1 python -m benchmarks networks cost

On 40 structures of the published Si training part, all in one run, taking turns; medians. Ratios are to one network.
Writes results/nnp_cost.json.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import numpy as np
import torch

from benchmarks.shared.command_line import nothing
from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.results import write_result
from benchmarks.shared.smoke import Smoke
from kernpot import NNPEnsemble
from kernpot.descriptors import default_descriptor, features_of
from kernpot.nnp.derivatives import describe
from kernpot.nnp.descriptions import Descriptions
from kernpot.nnp.inputs import fit_inputs
from kernpot.nnp.members import in_ev, potentials_of
from kernpot.nnp.networks import random_networks
from kernpot.nnp.targets import scales_of, targets_of
from kernpot.nnp.training import Settings, Trainer
from kernpot.structures.labels import label_structures
from kernpot.structures.noise import NoiseModel, kind_of
from kernpot.structures.reference import isolated_atom_energies

STRUCTURES, ROUNDS = 40, 5
MEMBERS = (1, 2, 4, 8, 16)
SMOKE = Smoke({"STRUCTURES": 10, "ROUNDS": 1, "MEMBERS": (1, 2)})


def main(arguments: Sequence[str]) -> None:
    """Measure and store."""
    nothing("networks cost", __doc__, arguments)
    frames = DATASETS["Si"].train()[:: len(DATASETS["Si"].train()) // STRUCTURES][:STRUCTURES]
    labelled = label_structures(frames)
    features, isolated = features_of(default_descriptor([14])), isolated_atom_energies(labelled)
    options = NNPEnsemble().get_params()
    described = [torch.from_numpy(features(s.atoms)) for s in labelled]
    inputs = {14: fit_inputs(described, options["n_components"])}
    scales = scales_of(labelled, NoiseModel(), isolated, (14,))
    assert {kind_of(group) for group in scales.levels} == {"energy", "forces", "stress"}
    data = describe(Descriptions(features, [s.atoms for s in labelled]), inputs)
    targets = targets_of(labelled, NoiseModel(), scales, isolated)
    settings = Settings(10**6, options["batch_size"], options["learning_rate"], "cosine", 10**6, 0)
    trainers, potentials, means, shapes = {}, {}, {}, [(n, False) for n in MEMBERS] + [(8, True)]
    for n, shared in shapes:
        seeds = [torch.Generator().manual_seed(k) for k in range(n)]
        width = inputs[14].projection.shape[1]
        networks = {14: random_networks(width, options["hidden"], n, shared, options["activation"], seeds)}
        weights = np.ones((n, len(labelled)))
        key = f"shallow {n}" if shared else str(n)
        trainers[key] = Trainer(networks, data, targets, weights, np.empty(0, dtype=np.int64), settings)
        in_units = {14: in_ev(networks[14], scales.unit)}
        potentials[key] = potentials_of(features, inputs, in_units, {14: 0.0})
        average = torch.full((1, n), 1.0 / n, dtype=torch.float64)
        means[key] = potentials_of(features, inputs, in_units, {14: 0.0}, average)
    largest = max((s.atoms for s in labelled), key=len)
    times: dict[str, dict[str, list[float]]] = {k: {"epoch": [], "mean": [], "with_spread": []} for k in trainers}
    for _ in range(ROUNDS + 1):
        for key, trainer in trainers.items():
            for what, work in (
                ("epoch", trainer.epoch),
                ("mean", lambda k=key: means[k](largest)),
                ("with_spread", lambda k=key: potentials[k](largest)),
            ):
                start = time.perf_counter()
                work()
                times[key][what].append(time.perf_counter() - start)
    rows = []
    for key, found in times.items():
        spent = {what: median(values[1:]) for what, values in found.items()}  # the first round compiles
        one = {what: median(values[1:]) for what, values in times["1"].items()}
        rows.append({"networks": key, **spent, "ratio": {what: spent[what] / one[what] for what in spent}})
        print(key, {what: f"{1e3 * t:.1f} ms, {rows[-1]['ratio'][what]:.2f}" for what, t in spent.items()}, flush=True)
    threads = torch.get_num_threads()
    write_result(
        "networks/nnp_cost", {"structures": STRUCTURES, "atoms": len(largest), "threads": threads, "rows": rows}
    )

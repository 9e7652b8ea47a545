"""Kinds of labels that contradict one another, by what the last hidden layer says of each from all others.

A training that is drawn two ways ends between them, so networks do not tell by their errors which kind is wrong. Their
hidden features are a basis in which labels are linear, whatever the heads have learnt.
"""

from __future__ import annotations

import numpy as np
import torch

from kernpot.calibration.kinds import SHARP, EnergyRows, between_kinds
from kernpot.nnp.fitted import Trained
from kernpot.nnp.last_layer import HiddenRows
from kernpot.nnp.splits import usable
from kernpot.regression.factor import LabelFactor
from kernpot.structures.noise import kind_of
from kernpot.structures.plausibility import LabelFinding

# Structures that are asked, evenly chosen, and members whose features are taken together.
_ASKED, _MEMBERS = 60, 4
# Prior std of a head's weights, over the unit of energies: as good as none.
_PRIOR = 100.0


def contradictions(trained: Trained) -> list[LabelFinding]:
    """What is wrong with one kind of label as a whole.

    Parameters
    ----------
    trained : Trained
    """
    places = usable(trained.labelled)
    asked = [trained.labelled[k] for k in places[:: -(-len(places) // _ASKED)]]
    members = [
        HiddenRows(trained.features, trained.inputs, {z: net.member(k) for z, net in trained.networks.items()})
        for k in range(min(_MEMBERS, next(iter(trained.networks.values())).n_bodies))
    ]
    width = sum(rows.n for rows in members)
    factors: dict[str, LabelFactor] = {}
    values: dict[str, list[np.ndarray]] = {}
    energies, targets, with_energy = [], [], []
    for index, s in enumerate(asked):
        found = [rows(s.atoms) for rows in members]
        for kind in s.kinds:
            parts = [{"energy": f.energies[:, None], "forces": f.forces, "stress": f.stress}[kind] for f in found]
            if any(part is None for part in parts):
                continue
            extensive = kind == "energy"
            known, size = s.known(kind), len(s.atoms) if extensive else 1
            zero = sum(trained.zero[int(z)] for z in s.atoms.numbers) if extensive else 0.0
            y = torch.from_numpy(((np.ravel(s.label(kind)) - zero) / size)[known])
            features = np.concatenate([part.reshape(len(part), -1) for part in parts if part is not None])
            b = torch.from_numpy(np.ascontiguousarray((features / size).T[known]))
            group = trained.noise.group(s, kind)
            factors.setdefault(group, LabelFactor.empty(width, 1)).add(b, y, b.square().sum(1, keepdim=True))
            values.setdefault(group, []).append(y.numpy())
            if kind == "energy":
                energies.append(b[0])
                targets.append(float(y[0]))
                with_energy.append(index)
    if not energies:
        return []
    spreads = {
        group: float(np.std(y) if kind_of(group) == "energy" else np.sqrt(np.mean(y**2)))
        for group, parts in values.items()
        for y in [np.concatenate(parts)]
    }
    block = torch.zeros(width, dtype=torch.int64)
    amplitude = torch.tensor([_PRIOR * trained.scales.unit], dtype=torch.float64)
    sharp = {group: max(SHARP * spread, 1e-12) for group, spread in spreads.items()}
    known_energies = EnergyRows.of(asked, with_energy, torch.stack(energies), np.array(targets))
    return between_kinds(asked, known_energies, factors, block, amplitude, sharp)

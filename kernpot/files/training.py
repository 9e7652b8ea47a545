"""The labelled structures behind a model, as plain arrays for the model file: missing labels take no room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kernpot.errors import KernpotError
from kernpot.structures.checks import check_atoms, check_energy, check_forces, check_stress
from kernpot.structures.labels import LABEL_KINDS, LabelledStructure

_PREFIX = "training."


def require_training(
    labelled: Sequence[LabelledStructure] | None, what: str, instead: str
) -> Sequence[LabelledStructure]:
    """Raise KernpotError, saying what to do instead, when a model does not know its training structures."""
    if labelled is None:
        raise KernpotError(
            f"{what} needs the training structures, which this model's file does not hold: it was written by an older "
            f"kernpot. {instead}"
        )
    return labelled


def pack(labelled: Sequence[LabelledStructure]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header part and tensors of labelled structures.

    Returns
    -------
    header : dict
        ``config_type``, ``source``, ``labels`` (kinds present) and ``noise_scale`` of every structure.
    tensors : dict of str to ndarray
        ``training.*``: sizes, numbers, positions (A), cells (A), pbc, and the labels that are present (eV, eV/A,
        eV/A^3), each kind in the order of the structures.
    """
    header = {
        "config_type": [s.config_type for s in labelled],
        "source": [s.source for s in labelled],
        "labels": [list(s.kinds) for s in labelled],
        "noise_scale": [s.noise_scale for s in labelled],
    }
    tensors = {
        "sizes": np.array([len(s.atoms) for s in labelled], dtype=np.int64),
        "numbers": np.concatenate([s.atoms.numbers for s in labelled]).astype(np.int64),
        "positions": np.concatenate([s.atoms.positions for s in labelled]),
        "cells": np.stack([s.atoms.cell.array for s in labelled]),
        "pbc": np.stack([s.atoms.pbc for s in labelled]),
        "energy": np.array([s.energy for s in labelled if s.energy is not None], dtype=np.float64),
        "forces": np.concatenate([np.empty((0, 3)), *(s.forces for s in labelled if s.forces is not None)]),
        "stress": np.array([s.stress for s in labelled if s.stress is not None], dtype=np.float64).reshape(-1, 6),
    }
    return header, {_PREFIX + name: array for name, array in tensors.items()}


def unpack(header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> list[LabelledStructure]:
    """Labelled structures from what :func:`pack` made.

    Raises
    ------
    ValueError
        When the parts do not fit together.
    """
    parts = {name: tensors[_PREFIX + name] for name in ("sizes", "numbers", "positions", "cells", "pbc", *LABEL_KINDS)}
    told = {name: list(header[name]) for name in ("config_type", "source", "labels", "noise_scale")}
    labels, sizes = told["labels"], parts["sizes"]
    n, n_atoms = len(labels), int(sizes.sum())
    if {len(values) for values in told.values()} != {n} or sizes.shape != (n,) or not n or (sizes < 1).any():
        raise ValueError(
            f"it tells of {[len(values) for values in told.values()]} structures with the sizes {sizes.tolist()}"
        )
    unknown = {kind for kinds in labels for kind in kinds} - set(LABEL_KINDS)
    if unknown:
        raise ValueError(f"unknown kinds of labels {sorted(unknown)}, expected {', '.join(LABEL_KINDS)}")
    expected = {
        "numbers": (n_atoms,),
        "positions": (n_atoms, 3),
        "cells": (n, 3, 3),
        "pbc": (n, 3),
        "energy": (sum("energy" in kinds for kinds in labels),),
        "forces": (int(sum(m for m, kinds in zip(sizes, labels, strict=True) if "forces" in kinds)), 3),
        "stress": (sum("stress" in kinds for kinds in labels), 6),
    }
    for name, shape in expected.items():
        if parts[name].shape != shape:
            raise ValueError(f"{_PREFIX}{name} has the shape {parts[name].shape}, expected {shape}")
    ends = np.cumsum(sizes)
    taken = dict.fromkeys(LABEL_KINDS, 0)

    def take(kind: str, k: int) -> NDArray[Any] | None:
        if kind not in labels[k]:
            return None
        first = taken[kind]
        taken[kind] += int(sizes[k]) if kind == "forces" else 1
        return parts[kind][first : taken[kind]]

    found = []
    for k, (config_type, source, noise_scale) in enumerate(
        zip(told["config_type"], told["source"], told["noise_scale"], strict=True)
    ):
        own = slice(int(ends[k] - sizes[k]), int(ends[k]))
        atoms = Atoms(parts["numbers"][own], parts["positions"][own], cell=parts["cells"][k], pbc=parts["pbc"][k])
        check_atoms(atoms, source)
        energy, forces, stress = (take(kind, k) for kind in LABEL_KINDS)
        scales = {kind: float(noise_scale[kind]) for kind in LABEL_KINDS}
        if not all(0 < scale < np.inf for scale in scales.values()):
            raise ValueError(f"{source}: noise_scale {scales} is not positive")
        found.append(
            LabelledStructure(
                atoms=atoms,
                energy=None if energy is None else check_energy(energy[0], source),
                forces=None if forces is None else check_forces(forces, len(atoms), source),
                stress=None if stress is None else check_stress(stress[0], atoms, source),
                config_type=str(config_type),
                source=str(source),
                noise_scale=scales,
            )
        )
    return found

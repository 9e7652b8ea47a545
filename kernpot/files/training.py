"""The labelled structures behind a model, as plain arrays for the model file: missing labels take no room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kernpot.errors import KernpotError
from kernpot.structures.checks import check_atoms
from kernpot.structures.kinds import KINDS, LABEL_KINDS, LabelKind
from kernpot.structures.labels import LabelledStructure, check_noise_scale

_PREFIX = "training."
_SCALES = "atom_scales"


def require_training(
    labelled: Sequence[LabelledStructure] | None, what: str, instead: str
) -> Sequence[LabelledStructure]:
    """Raise KernpotError, saying what to do instead, when a model does not know its training structures."""
    if labelled is None:
        raise KernpotError(
            f"{what} needs the training structures, which this model's file does not hold: it was written by an older "
            f"kernpot, or its features came with the structures. {instead}"
        )
    return labelled


def training_in(header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> list[LabelledStructure] | None:
    """The labelled structures in a model file that :func:`kernpot.files.container.read_model` read; None without."""
    return None if header.get("training") is None else unpack(header["training"], tensors)


def pack(labelled: Sequence[LabelledStructure]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header part and tensors of labelled structures.

    Returns
    -------
    header : dict
        ``config_type``, ``source``, ``labels`` (kinds present) and ``noise_scale`` of every structure.
    tensors : dict of str to ndarray
        ``training.*``: sizes, numbers, positions (A), cells (A), pbc, the labels that are present, each kind in the
        order of the structures, and factors on the noise of the forces on atoms, where there are any.
    """
    present = [kind for kind in KINDS if kind in LABEL_KINDS or any(s.label(kind) is not None for s in labelled)]
    header = {
        "config_type": [s.config_type for s in labelled],
        "source": [s.source for s in labelled],
        "labels": [list(s.kinds) for s in labelled],
        "noise_scale": [{kind: s.noise_scale[kind] for kind in present} for s in labelled],
    }
    tensors = {
        "sizes": np.array([len(s.atoms) for s in labelled], dtype=np.int64),
        "numbers": np.concatenate([s.atoms.numbers for s in labelled]).astype(np.int64),
        "positions": np.concatenate([s.atoms.positions for s in labelled]),
        "cells": np.stack([s.atoms.cell.array for s in labelled]),
        "pbc": np.stack([s.atoms.pbc for s in labelled]),
    }
    for kind in present:
        labels = [np.ravel(s.label(kind)) for s in labelled if s.label(kind) is not None]
        flat = np.concatenate([np.empty(0), *labels])
        tensors[kind] = flat.reshape(-1, *KINDS[kind].shape(1)[-1:])
    if any(s.atom_scales is not None for s in labelled):
        scales = [np.ones(len(s.atoms)) if s.atom_scales is None else s.atom_scales for s in labelled]
        tensors[_SCALES] = np.concatenate(scales)
    return header, {_PREFIX + name: array for name, array in tensors.items()}


def unpack(header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> list[LabelledStructure]:
    """Labelled structures from what :func:`pack` made.

    Raises
    ------
    ValueError
        When the parts do not fit together, or labels are of a kind that is not known.
    """
    told = {name: list(header[name]) for name in ("config_type", "source", "labels", "noise_scale")}
    present = dict.fromkeys((*LABEL_KINDS, *(kind for kinds in told["labels"] for kind in kinds)))
    unknown = set(present) - set(KINDS)
    if unknown:
        raise ValueError(
            f"unknown kinds of labels {sorted(unknown)}, expected some of {', '.join(KINDS)}; import the module that "
            "registers a kind of your own before loading"
        )
    weighed = (_SCALES,) if _PREFIX + _SCALES in tensors else ()
    names = ("sizes", "numbers", "positions", "cells", "pbc", *weighed, *present)
    parts = {name: tensors[_PREFIX + name] for name in names}
    labels, sizes = told["labels"], parts["sizes"]
    n, n_atoms = len(labels), int(sizes.sum())
    if {len(values) for values in told.values()} != {n} or sizes.shape != (n,) or not n or (sizes < 1).any():
        raise ValueError(
            f"it tells of {[len(values) for values in told.values()]} structures with the sizes {sizes.tolist()}"
        )
    expected: dict[str, tuple[int, ...]] = {
        "numbers": (n_atoms,),
        "positions": (n_atoms, 3),
        "cells": (n, 3, 3),
        "pbc": (n, 3),
        **dict.fromkeys(weighed, (n_atoms,)),
        **{kind: _stored_shape(KINDS[kind], sizes, [kind in kinds for kinds in labels]) for kind in present},
    }
    for name in ("sizes", "numbers"):
        if parts[name].dtype.kind not in "iu":
            raise ValueError(f"{_PREFIX}{name} has the type {parts[name].dtype}, expected whole numbers")
    for name, shape in expected.items():
        if parts[name].shape != shape:
            raise ValueError(f"{_PREFIX}{name} has the shape {parts[name].shape}, expected {shape}")
    ends = np.cumsum(sizes)
    taken = dict.fromkeys(present, 0)
    found = []
    for k, (config_type, source, noise_scale) in enumerate(
        zip(told["config_type"], told["source"], told["noise_scale"], strict=True)
    ):
        own = slice(int(ends[k] - sizes[k]), int(ends[k]))
        atoms = Atoms(parts["numbers"][own], parts["positions"][own], cell=parts["cells"][k], pbc=parts["pbc"][k])
        check_atoms(atoms, source)
        checked: dict[str, Any] = {}
        for kind in labels[k]:
            shape = KINDS[kind].shape(len(atoms))
            size = int(np.prod(shape))
            flat = parts[kind].ravel()[taken[kind] : taken[kind] + size]
            taken[kind] += size
            checked[kind] = KINDS[kind].check(flat.reshape(shape), atoms, source)
        scales = {kind: check_noise_scale(noise_scale[kind], kind, source) for kind in present}
        atom_scales = parts[_SCALES][own] if weighed else None
        if atom_scales is not None and not (atom_scales > 0).all():
            raise ValueError(f"{source}: factors on the noise of atoms are not positive")
        found.append(
            LabelledStructure(
                atoms=atoms,
                energy=checked.pop("energy", None),
                forces=checked.pop("forces", None),
                stress=checked.pop("stress", None),
                config_type=str(config_type),
                source=str(source),
                noise_scale=scales,
                others=checked,
                atom_scales=atom_scales,
            )
        )
    return found


def _stored_shape(kind: LabelKind, sizes: NDArray[np.int64], held: Sequence[bool]) -> tuple[int, ...]:
    """Shape of the array of all labels of a kind: components in rows as long as a label's last dimension."""
    total = sum(int(np.prod(kind.shape(int(m)))) for m, here in zip(sizes, held, strict=True) if here)
    width = kind.shape(1)[-1:]
    return (total // width[0], *width) if width else (total,)

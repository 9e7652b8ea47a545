"""What a fit saw: counts by configuration type, and a hash of the data."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernpot.structures.counts import count_by_file
from kernpot.structures.kinds import KINDS, LABEL_KINDS, other_kinds
from kernpot.structures.labels import LabelledStructure


def describe_data(labelled: Sequence[LabelledStructure]) -> dict[str, Any]:
    """Numbers of structures, atoms and labels, and of structures with each kind of label by file."""
    return {
        "structures": len(labelled),
        "atoms": sum(len(s.atoms) for s in labelled),
        **{KINDS[kind].counted: _components(labelled, kind) for kind in LABEL_KINDS},
        **{k.counted: n for k in other_kinds() if (n := _components(labelled, k.name))},
        "config_types": dict(Counter(s.config_type for s in labelled)),
        "files": count_by_file((s.source, s.kinds) for s in labelled),
    }


def _components(labelled: Sequence[LabelledStructure], kind: str) -> int:
    return sum(int(s.known(kind).sum()) for s in labelled if s.label(kind) is not None)


def data_hash(labelled: Sequence[LabelledStructure]) -> str:
    """SHA-256 of geometries and labels, in order."""
    digest = hashlib.sha256()
    for s in labelled:
        parts = [s.atoms.numbers, s.atoms.positions, s.atoms.cell.array, s.atoms.pbc, s.energy, s.forces, s.stress]
        parts += [s.others[name] for name in sorted(s.others)]
        parts += [] if s.atom_scales is None else [s.atom_scales]
        for part in parts:
            value = np.ascontiguousarray(np.array([] if part is None else part, dtype=np.float64))
            digest.update(repr(value.shape).encode() + value.tobytes())
    return digest.hexdigest()

"""Labels that some structures of a set lack: what may have been left out without being meant."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from kernpot.errors import KernpotWarning
from kernpot.structures.stresses import has_stress

TOLD_SHARE = 0.2
"""A larger share without forces, or without any label, is told: isolated atoms and a few others often have none."""

_NO_LABEL = re.compile(
    r"std|predict|sigma|error|unc|unit|weight|mask|scale|key|cut|kinetic|thermal|doubt|old|type|source|method|id$",
    re.IGNORECASE,
)
_LOOKS_LIKE = {
    "energy": re.compile(r".*energ.*|(.*_)?(e_?tot|toten|e|e0|etotal|e_total)", re.IGNORECASE),
    "forces": re.compile(r".*forc.*|.*grad.*", re.IGNORECASE),
    "stress": re.compile(r".*(stress|virial).*", re.IGNORECASE),
}


def warn_of_missing(structures: Sequence[tuple[str, Atoms, Sequence[str]]]) -> None:
    """Warn of structures without labels among others that have them, and of names that look like what they lack.

    Parameters
    ----------
    structures : sequence of (str, Atoms, sequence of str)
        How messages name each structure, the structure, and the kinds of labels it has.
    """
    if not any(kinds for _, _, kinds in structures):
        return  # nothing is labelled, and nothing may be meant to be
    lost = {kind: _with_another_name(structures, kind) for kind in _LOOKS_LIKE}
    for kind, found in lost.items():
        if found:
            source, name = found[0]
            _warn(
                f"{len(found)} of {len(structures)} structures (from {source} on) have no {kind}, but {name!r}, which"
                f" is not read. If that is the {kind}, give {name!r} as the key of the {kind} for all files, or rename"
                " it."
            )
    bare = [source for source, _, kinds in structures if not kinds]
    if len(bare) > TOLD_SHARE * len(structures) and not any(
        source in bare for found in lost.values() for source, _ in found
    ):
        _warn(f"{len(bare)} of {len(structures)} structures (from {bare[0]} on) have no label and are left out.")
    together = [(source, kinds) for source, atoms, kinds in structures if len(atoms) > 1 and kinds]
    without = [source for source, kinds in together if "forces" not in kinds]
    if TOLD_SHARE * len(together) < len(without) < len(together) and not lost["forces"]:
        _warn(
            f"{len(without)} of {len(together)} structures of several atoms (from {without[0]} on) have no forces, the"
            " others have; if their files hold forces under another name, give all the same name."
        )


def _with_another_name(structures: Sequence[tuple[str, Atoms, Sequence[str]]], kind: str) -> list[tuple[str, str]]:
    """Structures that lack a kind, each with the first name of what may be it."""
    found = []
    for source, atoms, kinds in structures:
        if kind not in kinds and (kind != "stress" or has_stress(atoms)):
            names = names_like(atoms, kind)
            found += [(source, names[0])] if names else []
    return found


def names_like(atoms: Atoms, kind: str) -> list[str]:
    """Names in info and arrays that look like a kind of label, and hold what has its shape."""
    shapes = {"energy": ((), (1,)), "forces": ((len(atoms), 3),), "stress": ((6,), (9,), (3, 3))}[kind]
    return [
        key
        for place in (atoms.info, atoms.arrays)
        for key, value in place.items()
        if isinstance(key, str)
        and _LOOKS_LIKE[kind].fullmatch(key.rstrip(":"))
        and not _NO_LABEL.search(key)
        and np.shape(value) in shapes
        and value is not None
    ]


def _warn(message: str) -> None:
    warnings.warn(message, KernpotWarning, stacklevel=5)

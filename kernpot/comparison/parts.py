"""Structures dealt out to files for learning, validation and test, such that what belongs together stays together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kernpot.comparison.blocks import blocks, group_of, is_trajectory, run_key
from kernpot.errors import KernpotError
from kernpot.structures.identity import identity
from kernpot.structures.labels import source_of
from kernpot.structures.reference import is_alone

TRAIN = "train"

Units = NDArray[np.int64]


def single(structures: Sequence[Atoms], _: str | None = None) -> Units:
    """Every structure is a unit of its own."""
    return np.arange(len(structures))


def trajectories(structures: Sequence[Atoms], key: str | None = None) -> Units:
    """Trajectory of each structure: named in info, else found.

    Without a name, consecutive frames of the same atoms in one file are one where neighbours are clearly nearer to one
    another than frames far apart; all others are alone.
    """
    name = key or "trajectory"
    _require_key(structures, key)
    found: list[tuple[Any, ...]] = []
    for run, members in groupby(enumerate(structures), lambda item: (item[1].info.get(name), run_key(*item)[1:])):
        frames = [atoms for _, atoms in members]
        start = len(found)
        if run[0] is not None:
            found += [("named", str(run[0]))] * len(frames)
        elif is_trajectory(frames):
            found += [("found", start)] * len(frames)
        else:
            found += [("alone", start + k) for k in range(len(frames))]
    return _numbered(found)


def pieces(structures: Sequence[Atoms], _: str | None = None) -> Units:
    """Pieces of ten of consecutive frames, or whole trajectories where five or more are named."""
    return blocks(structures)


def groups(structures: Sequence[Atoms], key: str | None = None) -> Units:
    """Group of each structure: its ``config_type``, or what another name in info says."""
    _require_key(structures, key)
    return _numbered([group_of(atoms) if key is None else str(atoms.info.get(key)) for atoms in structures])


def files(structures: Sequence[Atoms], _: str | None = None) -> Units:
    """File of each structure."""
    return _numbered([source_of(atoms, k).rsplit("#", 1)[0] for k, atoms in enumerate(structures)])


UNITS: Mapping[str, Callable[[Sequence[Atoms], str | None], Units]] = {
    "trajectory": trajectories,
    "piece": pieces,
    "group": groups,
    "file": files,
    "random": single,
}
"""What stays together, by name."""


def deal_out(
    structures: Sequence[Atoms], units: Units, shares: Mapping[str, float], seed: int, every_group: bool = True
) -> dict[str, list[int]]:
    """Places of the structures of each part; what no share takes is for ``train``, isolated atoms among it.

    Parameters
    ----------
    structures : sequence of ase.Atoms
    units : ndarray of int64, shape (n,)
        Structures of one unit come into one part, and so do exact copies.
    shares : mapping of str to float
        Share of the structures by name of the part.
    seed : int
    every_group : bool
        Whether each ``config_type`` is dealt out on its own, one unit of it left to learn from.

    Raises
    ------
    KernpotError
        A part would stay empty: units are too few or too large.
    """
    whole = with_copies(structures, units)
    free = [k for k, atoms in enumerate(structures) if not is_alone(atoms)]
    fixed = {int(whole[k]) for k, atoms in enumerate(structures) if is_alone(atoms)}
    rng = np.random.default_rng(seed)
    place: dict[int, str] = dict.fromkeys(fixed, TRAIN)
    by_group: dict[str, list[int]] = {}
    for k in free:
        by_group.setdefault(group_of(structures[k]) if every_group else "", []).append(k)
    for members in by_group.values():
        sizes: dict[int, int] = {}
        for k in members:
            sizes[int(whole[k])] = sizes.get(int(whole[k]), 0) + 1
        left = [int(unit) for unit in rng.permutation(sorted(sizes)) if int(unit) not in place]
        for part, share in shares.items():
            for unit in _nearest(left, sizes, share * len(members)):
                place[unit] = part
                left.remove(unit)
    found: dict[str, list[int]] = {part: [] for part in (TRAIN, *shares)}
    for k in range(len(structures)):
        found[place.get(int(whole[k]), TRAIN)].append(k)
    for part, members in found.items():
        if not members:
            raise KernpotError(
                f"no structure is left for {part}: {len(free)} structures are {len(set(whole[free].tolist()))} "
                "trajectories, groups or files that are not to be parted; choose smaller ones, such as pieces of "
                "trajectories, or other shares"
            )
    return found


def with_copies(structures: Sequence[Atoms], units: Units) -> Units:
    """Units joined where a structure of one is an exact copy of a structure of the other."""
    joined = np.array(units)
    first: dict[bytes, int] = {}
    for k, atoms in enumerate(structures):
        before = first.setdefault(identity(atoms), k)
        if joined[before] != joined[k]:
            joined[joined == joined[k]] = joined[before]
    return joined


def _nearest(units: Sequence[int], sizes: Mapping[int, int], wanted: float) -> list[int]:
    """Units, in order, whose structures come as near to a number as they can without choosing; one is left."""
    taken: list[int] = []
    total = 0
    for unit in units:
        if len(taken) + 1 < len(units) and abs(total + sizes[unit] - wanted) < abs(total - wanted):
            taken.append(unit)
            total += sizes[unit]
    if not taken and len(units) > 1:
        smallest = min(units, key=lambda unit: sizes[unit])
        taken = [smallest] if sizes[smallest] < sum(sizes.values()) / 2 else []
    return taken


def _require_key(structures: Sequence[Atoms], key: str | None) -> None:
    if key is not None and not any(key in atoms.info for atoms in structures):
        names = sorted({str(name) for atoms in structures for name in atoms.info} - {"source"})
        raise KernpotError(
            f"none of the {len(structures)} structures has {key!r}; the names there are: {', '.join(names) or 'none'}"
        )


def _numbered(names: Sequence[Any]) -> Units:
    number = {name: k for k, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], dtype=np.int64)

"""What may be held out of a set of structures: whole blocks, since neighbours in a trajectory are nearly copies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from numpy.typing import NDArray

from kernpot.errors import KernpotError
from kernpot.structures.labels import source_of
from kernpot.structures.reference import is_alone

# A trajectory is cut into so many pieces of consecutive frames, which are held out or learnt as a whole.
_PIECES = 10
# Consecutive frames of a trajectory are nearer to one another than this part of the distance of frames far apart.
_CORRELATED = 0.7
_FEWEST_TRAJECTORIES = 5


def blocks(structures: Sequence[Atoms]) -> NDArray[np.int64]:
    """Block of each structure: those of a block belong together and must not be parted by a split.

    ``info["trajectory"]`` names trajectories, which are blocks where there are five or more. Otherwise consecutive
    frames of the same atoms and ``config_type`` are taken for a trajectory when neighbours in the list are clearly
    nearer to one another than frames far apart; it is cut into ten pieces of consecutive frames. All others are blocks
    of their own.
    """
    named = {str(a.info["trajectory"]) for a in structures if "trajectory" in a.info}
    found: list[tuple[object, ...]] = []
    for key, run in groupby(enumerate(structures), lambda item: run_key(*item)):
        frames = [atoms for _, atoms in run]
        start, n = len(found), len(frames)
        if key[0] is not None and len(named) >= _FEWEST_TRAJECTORIES:
            found += [("named", key[0])] * n
        elif key[0] is not None or is_trajectory(frames):
            found += [("piece", start, k * _PIECES // n) for k in range(n)]
        else:
            found += [("alone", start + k) for k in range(n)]
    number = {name: k for k, name in enumerate(dict.fromkeys(found))}
    return np.array([number[name] for name in found], dtype=np.int64)


def hold_out(structures: Sequence[Atoms], share: float = 0.2, seed: int = 0) -> tuple[list[Atoms], list[Atoms]]:
    """Part structures into those to learn from and those to be asked about.

    Whole blocks (see `blocks`) are held out at random until a `share` of each ``config_type`` is. Isolated atoms are
    always learnt, and so is the only block of a ``config_type``.

    Returns
    -------
    train, test : list of ase.Atoms

    Raises
    ------
    KernpotError
        If the share is none, or nothing can be held out.
    """
    if not 0.0 < share < 1.0:
        raise KernpotError(f"the share held out must lie between 0 and 1 (0.2 means 20 %), got {share}")
    rng = np.random.default_rng(seed)
    frames = [k for k, atoms in enumerate(structures) if not is_alone(atoms)]
    block = blocks([structures[k] for k in frames])
    groups = [group_of(structures[k]) for k in frames]
    chosen: set[int] = set()
    for group in sorted(set(groups)):
        mine = np.array([g == group for g in groups])
        names = rng.permutation(np.unique(block[mine]))
        for name in names[:-1]:  # one is left to learn from
            if np.isin(block[mine], sorted(chosen)).sum() >= share * mine.sum():
                break
            chosen.add(int(name))
    held = {k for k, b in zip(frames, block.tolist(), strict=True) if b in chosen}
    if not held:
        raise KernpotError(
            f"nothing can be held out of {len(frames)} structure(s) that are no isolated atoms: give more, or test "
            "structures of their own with --test"
        )
    train = [atoms for k, atoms in enumerate(structures) if k not in held]
    return train, [structures[k] for k in sorted(held)]


def group_of(atoms: Atoms) -> str:
    """Its ``config_type``, empty when it has none."""
    return str(atoms.info.get("config_type", ""))


def composition(atoms: Atoms) -> str:
    """Its formula with the smallest whole numbers: energies per atom of one composition can be compared."""
    return str(atoms.symbols.formula.reduce()[0].convert("hill"))


def run_key(index: int, atoms: Atoms) -> tuple[str | None, str, str, bytes, bytes]:
    """What consecutive frames of one trajectory share."""
    name = str(atoms.info["trajectory"]) if "trajectory" in atoms.info else None
    file = source_of(atoms, index).split("#")[0].split("[")[0]
    return name, file, group_of(atoms), atoms.numbers.tobytes(), atoms.pbc.tobytes()


def is_trajectory(frames: Sequence[Atoms]) -> bool:
    """Whether neighbours in a list of frames of the same atoms are clearly nearer than frames far apart."""
    if len(frames) < _PIECES or len(frames[0]) == 1:
        return False
    half = len(frames) // 2
    near = [_distance(a, b) for a, b in pairwise(frames)]
    far = [_distance(a, b) for a, b in zip(frames[:-half], frames[half:], strict=True)]
    return bool(np.median(near) < _CORRELATED * np.median(far))


def _distance(a: Atoms, b: Atoms) -> float:
    """Root mean square displacement, the common one taken off."""
    moved = find_mic(b.positions - a.positions, b.cell, b.pbc)[0] if b.pbc.any() else b.positions - a.positions
    return float(np.sqrt(np.mean((moved - moved.mean(axis=0)) ** 2)))

"""From the extras that i-PI has written, bead by bead, to the table that ``i-pi-committee-reweight`` reads."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kernpot.errors import KernpotError


def read_extras(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Numbers of an ``extras`` trajectory of one bead, (n_frames, ...); units are i-PI's own.

    Raises
    ------
    KernpotError
        The file holds no numbers, or not the same number of them in every frame.
    """
    try:
        found = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise KernpotError(
            f"{os.fspath(path)}: expected lines of numbers, as <trajectory extra_type='committee_pot'> extras "
            f"</trajectory> writes them, got something else ({error}); is the run still going on?"
        ) from None
    if not found.size:
        raise KernpotError(f"{os.fspath(path)} holds no numbers: did the run reach the first output?")
    return np.asarray(found, dtype=np.float64)


def bead_average(paths: Sequence[str | os.PathLike[str]]) -> NDArray[np.float64]:
    """Average over beads of what :func:`read_extras` reads from each of their files.

    The weight of a ring polymer is that of the average potential of its beads at the physical temperature, so the table
    and ``--kt`` of the physical temperature are what ``i-pi-committee-reweight`` wants.

    Parameters
    ----------
    paths : sequence of path-like
        One file per bead.

    Returns
    -------
    ndarray of shape (n_frames, n_members)
    """
    if not len(paths):
        raise KernpotError("expected one file per bead, got none.")
    beads = [read_extras(path) for path in paths]
    if len({b.shape for b in beads}) > 1:
        shapes = ", ".join(f"{os.fspath(p)}: {b.shape}" for p, b in zip(paths, beads, strict=True))
        raise KernpotError(f"expected as many frames and members for every bead, got {shapes}.")
    return np.asarray(np.mean(beads, axis=0))

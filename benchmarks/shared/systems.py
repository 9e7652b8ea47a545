"""What speed is measured on: silicon, a random alloy of four elements, a molecule; the settings of both codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk

from benchmarks.shared import smoke
from benchmarks.shared.datasets import DATASETS, Setting
from benchmarks.shared.results import read_result


def silicon(repeat: int) -> Atoms:
    """Diamond silicon with ``8 repeat^3`` atoms (far fewer in a smoke run), off their sites by 0.05 A."""
    if smoke.folder() is not None:
        repeat = -(-repeat // 4)
    atoms = bulk("Si", "diamond", a=5.43, cubic=True).repeat(repeat)
    atoms.rattle(0.05, seed=0)
    return atoms


def alloy(repeat: int = 4) -> Atoms:
    """Random bcc NbMoTaW with ``2 repeat^3`` atoms (fewer in a smoke run) in equal parts, off their sites by 0.05 A."""
    if smoke.folder() is not None:
        repeat = -(-repeat // 2)
    atoms = bulk("W", "bcc", a=3.24, cubic=True).repeat(repeat)
    elements = np.resize(["Nb", "Mo", "Ta", "W"], len(atoms))
    atoms.set_chemical_symbols(np.random.default_rng(0).permutation(elements).tolist())
    atoms.rattle(0.05, seed=0)
    return atoms


def molecule() -> Atoms:
    """3BPA, 27 atoms, as in the first training frame."""
    return next(a for a in DATASETS["3bpa"].train() if len(a) > 1).copy()


@dataclass(frozen=True)
class System:
    """What is compared: kernpot with the chosen setting (changed as stated) beside a GAP.

    Attributes
    ----------
    cells : dict of str to callable
        Structures that are timed, by label.
    changes : dict
        Where the setting differs from the one chosen for accuracy.
    gap : str
        SOAP of gap_fit, without what depends on the element.
    n_sparse : dict of str to int
        GAP's sparse points per element.
    gap_structures : int or None
        Training structures of gap_fit, drawn at random; None is all.
    """

    cells: dict[str, Callable[[], Atoms]]
    gap: str
    n_sparse: dict[str, int]
    changes: dict[str, Any] = field(default_factory=dict)
    gap_structures: int | None = None
    e0: dict[str, float] = field(default_factory=dict)

    def setting(self, name: str) -> Setting:
        """The setting chosen for the data set, changed."""
        return Setting.of(read_result(f"accuracy/settings_{name}")["chosen"], **self.changes)


SYSTEMS = {
    "Si": System(
        {"64": lambda: silicon(2), "512": lambda: silicon(4), "4096": lambda: silicon(8)},
        "l_max=8 n_max=8 atom_sigma=0.5 zeta=4 cutoff=5.4 cutoff_transition_width=0.5 delta=1.0",
        {"Si": 1000},
        # As large as the published GAP; on structures left out hardly worse than the best of this size; fastest.
        changes={"zeta": 2, "n_inducing": 1000, "n_components": 128},
        e0={"Si": -0.79},  # as in the published potential
    ),
    "nbmotaw": System(
        {"128": alloy},
        "l_max=4 n_max=6 atom_sigma=0.5 zeta=4 cutoff=5.0 cutoff_transition_width=0.5 delta=1.0",
        {"Nb": 300, "Mo": 300, "Ta": 300, "W": 300},
        gap_structures=60,
    ),
    "3bpa": System(
        {"27": molecule},
        "l_max=5 n_max=6 atom_sigma=0.3 zeta=4 cutoff=4.5 cutoff_transition_width=0.5 delta=1.0",
        {"H": 450, "C": 450, "N": 200, "O": 100},
        gap_structures=101,
    ),
}

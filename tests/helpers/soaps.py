"""DScribe descriptors and structures that the tests of descriptors and functionals share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ase import Atoms
from dscribe.descriptors import SOAP
from torch.utils._python_dispatch import TorchDispatchMode

SPECIES = ("H", "O", "Si", "Mo")
SPECIES_WEIGHTS = {"H": 0.5, "O": 2.0, "Si": -1.3, "Mo": 0.7}
COMPRESSIONS = ("off", "mu2", "mu1nu1", "crossover")
R_CUT = 3.5

WEIGHTINGS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "poly m=0": {"function": "poly", "r0": R_CUT, "c": 1.3, "m": 0},
    "poly m=0.5": {"function": "poly", "r0": R_CUT, "c": 1.3, "m": 0.5},
    "poly m=1": {"function": "poly", "r0": R_CUT, "c": 1.3, "m": 1},
    "poly m=2": {"function": "poly", "r0": R_CUT, "c": 1.3, "m": 2},
    "poly m=3": {"function": "poly", "r0": R_CUT, "c": 1.3, "m": 3},
    "poly beyond the padding": {"function": "poly", "r0": 9.0, "c": 1.3, "m": 1},
    "poly w0": {"function": "poly", "r0": R_CUT, "c": 1.3, "m": 1, "w0": 0.4},
    "pow": {"function": "pow", "r0": 2.0, "c": 1.3, "d": 0.5, "m": 3},
    "pow m=0": {"function": "pow", "r0": 2.0, "c": 1.3, "d": 0.5, "m": 0},
    "pow d=0 w0": {"function": "pow", "r0": 2.0, "c": 1.3, "d": 0.0, "m": 3, "w0": 1.0},
    "exp": {"function": "exp", "r0": 1.0, "c": 1.3, "d": 0.5},
    "exp d=0": {"function": "exp", "r0": 1.0, "c": 1.3, "d": 0.0},
    "w0": {"w0": 0.3},
    "w0=0": {"w0": 0.0},
}


def make_soap(
    weighting: str | dict[str, Any] = "poly m=1",
    compression: str | dict[str, Any] = "off",
    weighted: bool = False,
    **changes: Any,
) -> SOAP:
    """A small SOAP; a weighting may be a name in WEIGHTINGS, ``weighted`` switches species weights on."""
    species = changes.pop("species", SPECIES)
    chosen = WEIGHTINGS[weighting] if isinstance(weighting, str) else weighting
    if isinstance(compression, str):
        weights = {s: SPECIES_WEIGHTS[s] for s in species} if weighted else None
        compression = {"mode": compression, "species_weighting": weights}
    arguments: dict[str, Any] = {
        "species": species,
        "r_cut": R_CUT,
        "n_max": 3,
        "l_max": 3,
        "sigma": 0.4,
        "periodic": True,
        "weighting": None if chosen is None else dict(chosen),
        "compression": compression,
    }
    return SOAP(**(arguments | changes))


def random_atoms(
    rng: np.random.Generator,
    n_atoms: int = 5,
    pbc: bool | tuple[bool, bool, bool] = True,
    species: tuple[str, ...] = SPECIES,
    edge: float = 3.0,
    skew: float = 0.5,
) -> Atoms:
    """Random atoms, all species present when there are enough atoms, at least 0.7 A apart, in a skewed cell."""
    symbols = [species[i % len(species)] for i in range(n_atoms)]
    while True:
        cell = np.diag(rng.uniform(0.9, 1.4, 3)) * edge + rng.uniform(-skew, skew, (3, 3)) * edge
        atoms = Atoms(symbols, rng.uniform(0, 1, (n_atoms, 3)) @ cell, cell=cell, pbc=pbc)
        repeated = atoms.repeat(np.where(atoms.pbc, 2, 1))
        distances = repeated.get_all_distances(mic=False) + 10 * np.eye(len(repeated))
        if distances.min() > 0.7 and abs(np.linalg.det(cell)) > 0.3 * edge**3:
            return atoms


def displaced(atoms: Atoms, displacement: np.ndarray | None = None, strain: np.ndarray | None = None) -> Atoms:
    """A copy whose atoms moved by ``displacement`` and whose space was then mapped by ``1 + strain``."""
    moved = atoms.copy()
    if displacement is not None:
        moved.positions += displacement
    if strain is not None:
        deformation = np.eye(3) + strain
        moved.set_cell(moved.cell.array @ deformation.T)
        moved.positions = moved.positions @ deformation.T
    return moved


def central_difference(function: Callable[[float], np.ndarray], step: float = 2e-3) -> np.ndarray:
    """Derivative at zero, with an error of order ``step**6``."""
    near, middle, far = ((function(k * step) - function(-k * step)) / step for k in (1, 2, 3))
    return 3 / 4 * near - 3 / 20 * middle + far / 60


class LargestTensor(TorchDispatchMode):
    """Remembers the largest tensor that any operation made."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out

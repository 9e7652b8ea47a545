"""Ten structures that stand in for a published data set in a smoke run, from the carried data or computed here.

They have what the benchmarks read of the published ones: elements, kinds of labels, ``config_type``, ``description``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from benchmarks.shared.results import ROOT
from kernpot import read_structures

CARRIED = ROOT / "examples" / "data"
_NUMBER = 10
_RATTLE = 0.08
_STRAINS = (-0.04, -0.02, 0.02, 0.04)
_MOVING = (("AIMD-NVT", 300), ("AIMD-NVT", 300), ("AIMD-NVT", 900), ("AIMD-NVT", 900), ("Vacancy", 300))


def structures(name: str, test: bool = False) -> list[Atoms]:
    """Ten structures, others for testing."""
    return _MAKERS[name](test)


def labelled(atoms: Atoms, calculator: Calculator) -> Atoms:
    """A copy with the labels of a calculator."""
    frame = atoms.copy()
    frame.calc = calculator
    labels = {"energy": frame.get_potential_energy(), "forces": frame.get_forces(), "stress": frame.get_stress()}
    frame.calc = SinglePointCalculator(frame, **labels)
    return frame


def _element(crystal: Atoms) -> Callable[[bool], list[Atoms]]:
    """A crystal under Lennard-Jones, with the configurations that Zuo et al. have of Si and Mo."""

    def make(test: bool) -> list[Atoms]:
        frames = [_told(crystal, "Ground state", "Ground state crystal")]
        for strain in _STRAINS:
            frame = _told(crystal, "Elastic", f"Strained crystal, mode 1, strain {strain}")
            frame.set_cell(frame.cell.array @ np.diag([1.0 + strain, 1.0, 1.0]), scale_atoms=True)
            frames.append(frame)
        for k, (kind, kelvin) in enumerate(_MOVING):
            frame = _told(crystal, kind, f"Snapshot {k + 1} of {len(_MOVING)} of {kind} at {kelvin} K")
            frame.rattle(_RATTLE * (kelvin / 300) ** 0.5, seed=k + 100 * test)
            if kind == "Vacancy":
                del frame[0]
            frames.append(frame)
        return [labelled(frame, _lennard_jones(crystal)) for frame in frames]

    return make


def _alloy(test: bool) -> list[Atoms]:
    """NbMoTaW under Lennard-Jones, with the kinds of the published frames."""
    crystal = bulk("W", "bcc", a=3.24, cubic=True) * (2, 2, 2)
    calculator, frames = _lennard_jones(crystal), []
    pure = [f"{symbol}_{kind}" for symbol in ("Nb", "Ta") for kind in ("AIMD", "Elastic")]
    for k, kind in enumerate([*pure, "Mo_AIMD", "W_AIMD", "NbTa_SS", "NbTa_SS", "MoW_SS", "MoW_SS"]):
        frame = _told(crystal, kind, kind)
        frame.set_chemical_symbols(np.resize(re.findall("[A-Z][a-z]?", kind.split("_")[0]), len(frame)).tolist())
        frame.rattle(_RATTLE, seed=k + 100 * test)
        frames.append(labelled(frame, calculator))
    return frames


def _molecule(test: bool) -> list[Atoms]:
    """Free atoms and frames of the carried ethanol."""
    frames = read_structures(CARRIED / "ethanol_gfn2.xyz.gz")
    alone = [a for a in frames if len(a) == 1]
    bound = [a for a in frames if len(a) > 1 and a.info["split"] == ("test" if test else "train")]
    n = _NUMBER if test else _NUMBER - len(alone)
    return ([] if test else alone) + bound[:: len(bound) // n][:n]


def _told(crystal: Atoms, kind: str, description: str) -> Atoms:
    frame = crystal.copy()
    frame.info |= {"config_type": kind, "description": description}
    return frame


def _lennard_jones(crystal: Atoms) -> LennardJones:
    """Its minimum near the crystal's nearest neighbours."""
    nearest = float(np.unique(crystal.get_all_distances(mic=True).round(3))[1])
    return LennardJones(sigma=nearest / 2 ** (1 / 6), epsilon=0.3, rc=2 * nearest, smooth=True)


_MAKERS: dict[str, Callable[[bool], list[Atoms]]] = {
    "Si": _element(bulk("Si", "diamond", a=5.43, cubic=True)),
    "Mo": _element(bulk("Mo", "bcc", a=3.15, cubic=True) * (2, 2, 2)),
    "3bpa": _molecule,
    "acac": _molecule,
    "ethanol": _molecule,
    "nbmotaw": _alloy,
}

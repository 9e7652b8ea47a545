"""Compute the two labelled data sets this repository carries, with the xTB methods of tblite.

    python examples/data/generate.py            # both files, a few minutes on one core
    python examples/data/generate.py --only dry_ice_gfn1 --force

`ethanol_gfn2.xyz.gz`
    The ethanol molecule at 300 K and 600 K, GFN2-xTB: energies and forces.
`dry_ice_gfn1.xyz.gz`
    The 12-atom cubic cell of solid CO2 at 300 K and 900 K and under strain, GFN1-xTB: energies, forces and stress.

Both begin with the free atoms (`config_type=isolated_atom`). Every frame says which part it belongs to
(`config_type`), which independent trajectory it comes from (`trajectory`) and its use (`split=train` or `test`):
no trajectory serves both. README.md beside this file gives the settings. Needs `pip install kernpot[data]`.
"""

from __future__ import annotations

import argparse
import gzip
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.langevin import Langevin
from ase.optimize import BFGS
from ase.spacegroup import crystal
from tblite.ase import TBLite

HERE = Path(__file__).resolve().parent
ACCURACY = 0.01  # tblite's factor on its self-consistency thresholds; 1 leaves errors of 1e-4 eV/A in the forces
DECIMALS = 8
FRICTION = 0.02 / units.fs  # thermalises within 50 fs: frames are wanted, not dynamics
MULTIPLICITIES = {"H": 2, "C": 3, "O": 3}  # ground states of the free atoms


@dataclass(frozen=True)
class Part:
    """Frames of one kind: `n_trajectories` independent runs of `n_frames` frames each."""

    config_type: str
    split: str
    n_trajectories: int
    n_frames: int
    temperature: float = 0.0


@dataclass(frozen=True)
class DataSet:
    """One output file: method, start structures, and how its molecular dynamics runs."""

    method: str
    start: Callable[[np.random.Generator], Atoms]
    elements: str
    parts: tuple[Part, ...]
    timestep_fs: float
    steps_between_frames: int
    equilibration_steps: int


def calculator(method: str, multiplicity: int | None = None) -> TBLite:
    """Return a fresh tblite calculator at the accuracy used for every label."""
    return TBLite(method=method, accuracy=ACCURACY, multiplicity=multiplicity, verbosity=0)


def labelled(atoms: Atoms, method: str, multiplicity: int | None = None) -> Atoms:
    """Return a copy with rounded positions and cell, and with the labels of exactly that structure.

    Rounding comes first, so that what is written is what was computed. The calculator is fresh, so that a label does
    not depend on the trajectory that led there. Only energy, forces and stress are kept of tblite's results.
    """
    frame = Atoms(
        atoms.symbols, np.round(atoms.positions, DECIMALS), cell=np.round(atoms.cell, DECIMALS), pbc=atoms.pbc
    )
    frame.calc = calculator(method, multiplicity)
    labels = {
        "energy": round(float(frame.get_potential_energy()), DECIMALS),
        "forces": np.round(frame.get_forces(), DECIMALS),
    }
    if frame.pbc.all():
        labels["stress"] = np.round(frame.get_stress(), 10)
    frame.calc = SinglePointCalculator(frame, **labels)
    return frame


def ethanol(rng: np.random.Generator) -> Atoms:
    """Return relaxed ethanol in a random one of its three conformers (trans, gauche+, gauche-)."""
    atoms = molecule("CH3CH2OH")  # ASE's order: C C O H(O) H H H H H
    atoms.set_dihedral(0, 1, 2, 3, float(rng.choice([180.0, 60.0, 300.0])), indices=[3])
    atoms.calc = calculator("GFN2-xTB")
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=200)
    return atoms


def dry_ice(_: np.random.Generator) -> Atoms:
    """Return the Pa-3 crystal of CO2 at 5.58 A, where GFN1-xTB has its energy minimum (measured: 5.62 A at 150 K)."""
    a = 5.58
    return crystal(["C", "O"], [(0, 0, 0), (0.118, 0.118, 0.118)], spacegroup=205, cellpar=[a, a, a, 90, 90, 90])


def strained(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Return the crystal in a randomly strained cell, molecules moved as wholes, then every atom displaced by 0.015 A.

    Lengths change by up to 5 %, shears have a standard deviation of 2 %. Straining the molecules themselves would put
    all the energy into their stiff bonds.
    """
    shear = np.triu(rng.normal(0.0, 0.02, (3, 3)), 1)
    strain = np.eye(3) * rng.uniform(-0.05, 0.05) + np.diag(rng.normal(0.0, 0.01, 3)) + (shear + shear.T) / 2
    carbons = np.flatnonzero(atoms.numbers == 6)
    owner = np.array([carbons[np.argmin(atoms.get_distances(i, carbons, mic=True))] for i in range(len(atoms))])
    bonds = np.array([atoms.get_distance(owner[i], i, mic=True, vector=True) for i in range(len(atoms))])
    out = atoms.copy()
    out.set_cell(atoms.cell.array @ (np.eye(3) + strain))
    out.positions = atoms.positions[owner] @ (np.eye(3) + strain) + bonds + rng.normal(0.0, 0.015, bonds.shape)
    return out


def trajectory(data: DataSet, part: Part, rng: np.random.Generator) -> Iterator[Atoms]:
    """Yield the frames of one independent run: Langevin dynamics, or random strains for the part `strain`."""
    atoms = data.start(rng)
    if part.config_type == "strain":
        yield from (strained(atoms, rng) for _ in range(part.n_frames))
        return
    atoms.calc = calculator(data.method)
    thermal = np.sqrt(atoms.get_masses() * units.kB * part.temperature)
    atoms.set_momenta(thermal[:, None] * rng.standard_normal((len(atoms), 3)))
    dynamics = Langevin(
        atoms, data.timestep_fs * units.fs, temperature_K=part.temperature, friction=FRICTION, rng=rng, fixcm=False
    )
    dynamics.run(data.equilibration_steps)
    for _ in range(part.n_frames):
        dynamics.run(data.steps_between_frames)
        frame = atoms.copy()
        if frame.pbc.any():
            frame.wrap()
        else:
            frame.positions -= frame.get_center_of_mass()
        yield frame


def compute(name: str, data: DataSet, seed: int) -> list[Atoms]:
    """Return all labelled frames of a data set; each trajectory has its own random stream, derived from `seed`."""
    frames = []
    for element in data.elements:
        frame = labelled(Atoms(element, [[0.0, 0.0, 0.0]]), data.method, MULTIPLICITIES[element])
        frame.info.update(config_type="isolated_atom", split="train", trajectory=0)
        frames.append(frame)
    n_total = sum(part.n_trajectories * part.n_frames for part in data.parts)
    began, run = time.monotonic(), 0
    for part in data.parts:
        for _ in range(part.n_trajectories):
            run += 1
            for atoms in trajectory(data, part, np.random.default_rng([seed, run])):
                frame = labelled(atoms, data.method)
                frame.info.update(config_type=part.config_type, split=part.split, trajectory=run)
                frames.append(frame)
            done = len(frames) - len(data.elements)
            spent = time.monotonic() - began
            left = spent / done * (n_total - done)
            print(f"{name}: {done}/{n_total} frames, {spent:.0f} s, about {left:.0f} s left", flush=True)
    return frames


def save(path: Path, frames: list[Atoms]) -> None:
    """Write gzipped extended XYZ: the same frames give the same bytes (no time stamp), never half a file."""
    text = io.StringIO()
    write(text, frames, format="extxyz")
    partial = path.with_suffix(".part")
    partial.write_bytes(gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0))
    partial.replace(path)


DATA_SETS = {
    "ethanol_gfn2": DataSet(
        method="GFN2-xTB",
        start=ethanol,
        elements="HCO",
        parts=(
            Part("MD300", "train", n_trajectories=8, n_frames=20, temperature=300.0),
            Part("MD600", "train", n_trajectories=4, n_frames=10, temperature=600.0),
            Part("MD300", "test", n_trajectories=3, n_frames=20, temperature=300.0),
            Part("MD600", "test", n_trajectories=2, n_frames=20, temperature=600.0),
        ),
        timestep_fs=0.5,
        steps_between_frames=100,
        equilibration_steps=400,
    ),
    "dry_ice_gfn1": DataSet(
        method="GFN1-xTB",
        start=dry_ice,
        elements="CO",
        parts=(
            Part("MD300", "train", n_trajectories=3, n_frames=12, temperature=300.0),
            Part("MD900", "train", n_trajectories=2, n_frames=12, temperature=900.0),
            Part("strain", "train", n_trajectories=1, n_frames=24),
            Part("MD300", "test", n_trajectories=1, n_frames=12, temperature=300.0),
            Part("MD900", "test", n_trajectories=1, n_frames=12, temperature=900.0),
            Part("strain", "test", n_trajectories=1, n_frames=12),
        ),
        timestep_fs=1.0,
        steps_between_frames=40,
        equilibration_steps=200,
    ),
}


def main() -> None:
    """Compute what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(DATA_SETS), help="compute this data set only")
    parser.add_argument("--output", type=Path, default=HERE, help="folder to write to (default: beside this script)")
    parser.add_argument("--seed", type=int, default=2026, help="seed of all random streams (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="recompute files that exist")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for name in [args.only] if args.only else DATA_SETS:
        path = args.output / f"{name}.xyz.gz"
        if path.exists() and not args.force:
            print(f"{path} exists: kept (use --force to recompute it)")
            continue
        frames = compute(name, DATA_SETS[name], args.seed)
        save(path, frames)
        print(f"{path}: {len(frames)} frames, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

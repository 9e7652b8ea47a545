"""Compute silicon_pbe.xyz.gz: silicon by density-functional theory, with Quantum ESPRESSO.

    apt-get install --no-install-recommends quantum-espresso quantum-espresso-data   # Debian, Ubuntu: pw.x
    python examples/data/silicon.py             # about ten minutes on one core

Diamond silicon, the cubic cell of eight atoms: PBE, Si.pbe-rrkj.UPF, 20 Ry, 3 x 3 x 3 k-points, Marzari-Vanderbilt
smearing of 0.01 Ry, no symmetry. `train` holds cells strained by some per cent, atoms displaced by 0.02 to
0.3 A; `test` has frames of the same kind; `deform` the perfect crystal under pure strains, of which elastic constants
follow by differences without any potential. Energies (the free energy of the smeared occupations, which forces are the
derivative of), forces, stress; in ASE's units.
"""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write

from kernpot.dynamics.oracles import CalculatorOracle, EspressoFactory, Labels, labelled

OUTPUT = Path(__file__).resolve().parent / "silicon_pbe.xyz.gz"
PSEUDO = Path("/usr/share/espresso/pseudo")
LATTICE = 5.47  # A, near the minimum of PBE
STRAIN = 0.005  # of the pure strains, both signs
AMPLITUDES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)  # A
SETTINGS = {
    "ecutwfc": 20.0,
    "occupations": "smearing",
    "smearing": "mv",
    "degauss": 0.01,
    "nosym": True,
    "mixing_beta": 0.5,
    "conv_thr": 1e-9,
}


def displaced(kind: str, n: int, rng: np.random.Generator) -> list[Atoms]:
    """Strained cells with displaced atoms, amplitudes in turn."""
    frames = []
    for k in range(n):
        atoms = bulk("Si", "diamond", a=LATTICE, cubic=True)
        strain = 0.02 * rng.normal() * np.eye(3) + 0.015 * rng.normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        atoms.positions += AMPLITUDES[k % len(AMPLITUDES)] * rng.normal(size=(8, 3)) / np.sqrt(3)
        atoms.info.update(config_type=f"displaced {AMPLITUDES[k % len(AMPLITUDES)]}", split=kind)
        frames.append(atoms)
    return frames


def deformed() -> list[Atoms]:
    """The perfect crystal, and under two strains that tell the three elastic constants apart, with both signs."""
    frames = []
    for name, (i, j), sizes in (("none", (0, 0), (0.0,)), ("xx", (0, 0), (1, -1)), ("yz", (1, 2), (1, -1))):
        for size in sizes:
            atoms = bulk("Si", "diamond", a=LATTICE, cubic=True)
            strain = np.zeros((3, 3))
            strain[i, j] += size * STRAIN / 2
            strain[j, i] += size * STRAIN / 2
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            atoms.info.update(config_type=f"strain {name} {size:+g}", split="deform")
            frames.append(atoms)
    return frames


def main() -> None:
    """Label everything and write the file; nothing is written unless all of it converged."""
    rng = np.random.default_rng(2026)
    frames = [*displaced("train", 60, rng), *displaced("test", 18, rng), *deformed()]
    for atoms in frames:
        atoms.set_cell(np.round(atoms.cell.array, 8))
        atoms.positions = np.round(atoms.positions, 8)
    factory = EspressoFactory({"Si": "Si.pbe-rrkj.UPF"}, PSEUDO, SETTINGS, kpts=(3, 3, 3))
    done: dict[int, Atoms] = {}
    with CalculatorOracle(factory, timeout=600) as oracle:
        for index, answer in oracle.answers(frames):
            if not isinstance(answer, Labels):
                sys.exit(f"frame {index}: {answer}")
            done[index] = labelled(frames[index], answer)
            done[index].info.update(frames[index].info)
            print(f"{len(done)} of {len(frames)}", flush=True)
    text = io.StringIO()
    write(text, [done[k] for k in range(len(frames))], format="extxyz")
    with OUTPUT.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
        file.write(text.getvalue().encode())


if __name__ == "__main__":
    main()

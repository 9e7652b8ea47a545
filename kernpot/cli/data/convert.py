"""`kernpot data convert`: any format that ASE reads as extended XYZ with labels where kernpot looks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kernpot.cli.console import console, shown
from kernpot.cli.frames import write_frames
from kernpot.cli.options import EnergyKey, ForcesKey, StressKey, new_file
from kernpot.structures import read_structures


def convert(
    files: Annotated[list[Path], typer.Argument(help="Files with structures.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write (extxyz).", show_default=False)],
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Convert anything ASE reads to extended XYZ, several files into one.

    Labels become energy (eV), forces (eV/Å) and stress (eV/Å³, ASE's sign),
    whatever they were called; a virial becomes the stress it stands for.

    [bold]Examples[/]

      kernpot data convert OUTCAR run2/OUTCAR -o train.xyz

      kernpot data convert old.xyz --energy-key REF_energy --forces-key REF_forces -o train.xyz
    """
    new_file(output, force, files)
    structures = read_structures(files, energy_key, forces_key, stress_key)
    named = [key for key in (energy_key, forces_key, stress_key) if key is not None]
    for atoms in structures:
        for key in named:  # what has become a label is not written twice
            atoms.info.pop(key, None)
            atoms.arrays.pop(key, None)
    write_frames(output, structures)
    results = [getattr(atoms.calc, "results", None) or {} for atoms in structures]
    counts = ", ".join(
        f"{sum(kind in found for found in results)} with {kind}" for kind in ("energy", "forces", "stress")
    )
    console.print(f"wrote [bold]{shown(output)}[/]: {len(structures)} structures, {shown(counts)}", soft_wrap=True)

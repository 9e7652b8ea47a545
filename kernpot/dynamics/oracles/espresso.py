"""Quantum ESPRESSO's pw.x through ASE, checked before work starts and after every SCF."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from ase import Atoms
from ase.calculators.calculator import CalculationFailed, InputError, SCFError
from ase.calculators.espresso import EspressoProfile, EspressoTemplate
from ase.calculators.genericfileio import GenericFileIOCalculator
from ase.io.espresso import Namelist

from kernpot.dynamics.oracles.describe import json_ready, versions
from kernpot.errors import OracleError

ALWAYS = {"calculation": "scf", "tprnfor": True, "tstress": True, "scf_must_converge": True}
"""Input that an oracle cannot do without: pw.x told to go on without convergence says that it has converged."""

DEFAULTS = {"disk_io": "none", "conv_thr": 1e-8}
"""Input unless given: nothing is kept on disk; an energy threshold (Ry) that leaves little noise in forces."""


@dataclass(frozen=True)
class EspressoFactory:
    """Builds an ASE calculator that runs ``pw.x`` (Debian: quantum-espresso, quantum-espresso-data).

    The command runs as given: there is no MPI unless it says so, as in ``mpirun -np 4 pw.x -nk 2``.

    Parameters
    ----------
    pseudopotentials : mapping of str to str
        File name for every element.
    pseudo_dir : str or Path
        Where the files are.
    input_data : mapping
        Input of pw.x, flat or by section; needs ``ecutwfc``. ``tprnfor``, ``tstress`` and
        ``scf_must_converge`` are set.
    kpts : sequence of three int, "gamma" or None
        Monkhorst-Pack grid.
    kspacing : float, optional
        Instead of `kpts`: largest distance of k-points, 1/Angstrom.
    command : str
        How pw.x is started.

    Raises
    ------
    OracleError
        A program or a pseudopotential that is not there, no ``ecutwfc``, no k-points.
    """

    pseudopotentials: Mapping[str, str]
    pseudo_dir: str | Path
    input_data: Mapping[str, Any]
    kpts: Any = None
    kspacing: float | None = None
    command: str = "pw.x"

    def __post_init__(self) -> None:
        words = shlex.split(self.command)
        absent = [word for word in dict.fromkeys([words[0], self._program]) if shutil.which(word) is None]
        if absent:
            raise OracleError(
                f"espresso: the program {absent[0]!r} of the command {self.command!r} is not found. Install Quantum"
                " ESPRESSO (Debian, Ubuntu: apt-get install quantum-espresso quantum-espresso-data), or give its full"
                " path in command."
            )
        lost = [name for name in self.pseudopotentials.values() if not (self._folder / name).is_file()]
        if lost:
            there = sorted(path.name for path in self._folder.glob("*.[uU][pP][fF]"))
            raise OracleError(
                f"espresso: the pseudopotential {lost[0]!r} is not in {self._folder}, which holds"
                f" {there[:20] or 'none'}."
            )
        if "ecutwfc" not in self._namelist()["system"]:
            raise OracleError("espresso: input_data has no ecutwfc (plane-wave cutoff, Ry); pw.x needs one.")
        if (self.kpts is None) == (self.kspacing is None):
            raise OracleError('espresso: give either kpts, such as (4, 4, 4) or "gamma", or kspacing in 1/A.')

    def __call__(self) -> GenericFileIOCalculator:
        """Build the calculator."""
        grid = {"kspacing": self.kspacing} if self.kpts is None else {"kpts": self.kpts}
        if self.kpts == "gamma":
            grid = {"kpts": None}
        return GenericFileIOCalculator(
            template=_CheckedTemplate(set(self.pseudopotentials)),
            profile=EspressoProfile(self.command, self._folder),
            directory=".",
            parameters={
                "pseudopotentials": dict(self.pseudopotentials),
                "input_data": self._namelist(),
                **grid,
            },
        )

    def describe(self) -> dict[str, Any]:
        """Input, k-points, version of pw.x, and the checksums of the pseudopotentials."""
        try:
            program = str(EspressoProfile(self._program, self._folder).version())
        except Exception:
            program = "unknown"
        return {
            "calculator": "espresso",
            "settings": json_ready(
                {
                    "input_data": {name: dict(entries) for name, entries in self._namelist().items() if entries},
                    "kpts": self.kpts,
                    "kspacing": self.kspacing,
                }
                | {"pseudopotentials": dict(self.pseudopotentials)}
            ),
            "pseudopotentials_sha256": {
                name: hashlib.sha256((self._folder / name).read_bytes()).hexdigest()
                for name in self.pseudopotentials.values()
            },
            "versions": {"pw.x": program, **versions("ase")},
        }

    @property
    def _program(self) -> str:
        """The word of the command that is pw.x itself."""
        words = shlex.split(self.command)
        return next((word for word in words if Path(word).name.startswith("pw")), words[0])

    @property
    def _folder(self) -> Path:
        return Path(self.pseudo_dir).absolute()

    def _namelist(self) -> Namelist:
        flat = {
            key: value
            for name, entry in self.input_data.items()
            for key, value in (entry.items() if isinstance(entry, Mapping) else [(name, entry)])
        }
        namelist = Namelist({**DEFAULTS, **flat, **ALWAYS})
        namelist.to_nested("pw")
        return namelist


class _CheckedTemplate(EspressoTemplate):
    """ASE's own says only that pw.x failed, not why."""

    def __init__(self, elements: set[str]) -> None:
        super().__init__()
        self._elements = elements

    def write_input(
        self, profile: Any, directory: Path, atoms: Atoms, parameters: dict[str, Any], properties: Any
    ) -> None:
        """Write the input for pw.x."""
        unknown = sorted(set(atoms.get_chemical_symbols()) - self._elements)
        if unknown:
            raise InputError(f"espresso: no pseudopotential is given for {', '.join(unknown)}")
        super().write_input(profile, directory, atoms, dict(parameters), properties)

    def execute(self, directory: Path, profile: Any) -> None:
        """Run pw.x."""
        try:
            super().execute(directory, profile)
        except CalledProcessError as error:
            self._require_convergence(directory)
            raise CalculationFailed(f"pw.x ended with code {error.returncode}{self._complaint(directory)}") from error

    def read_results(self, directory: PathLike[Any]) -> dict[str, Any]:
        """Read what pw.x printed."""
        self._require_convergence(Path(directory))
        return dict(super().read_results(directory))

    def _require_convergence(self, directory: Path) -> None:
        found = re.search(r"convergence NOT achieved.*", self._output(directory))
        if found:
            raise SCFError(f"pw.x: {found.group().strip()}")

    def _complaint(self, directory: Path) -> str:
        found = re.search(r"Error in routine.*\n.*", self._output(directory))
        return f": {' '.join(found.group().split())}" if found else ""

    def _output(self, directory: Path) -> str:
        path = directory / self.outputname
        return path.read_text(errors="replace") if path.exists() else ""

"""How a trajectory was made, in a file beside it: what a resumed run takes up, and holds its command line against."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from ase import Atoms
from ase.constraints import dict2constraint

from kernpot.dynamics.gate import UncertaintyGate
from kernpot.dynamics.run_directory import read_json, write_atomically
from kernpot.dynamics.schedule import Ensemble, Schedule, Stage
from kernpot.dynamics.serial import atoms_to_dict
from kernpot.errors import KernpotError
from kernpot.files.container import library_versions
from kernpot.potential import Potential

_FORMAT = 1


@dataclass(frozen=True)
class MdSettings:
    """Options of a run, under the names that they have on the command line, with defaults and what follows filled in.

    Attributes
    ----------
    steps : int
        In all.
    ramp_steps : int
        Those that the ramp takes, as it was planned first; further steps are at its last temperature.
    """

    ensemble: Ensemble
    temperature: float
    final_temperature: float
    pressure: float
    steps: int
    ramp_steps: int
    timestep: float
    friction: float
    index: int
    every: int
    force_std: float
    energy_std: float | None
    tolerance: float | None
    patience: int
    gate_every: int
    on_event: Literal["stop", "record"]
    seed: int
    error_bars: str = "exact"

    def schedule(self) -> Schedule:
        """What is done when."""
        common = (self.timestep, self.friction, self.pressure)
        stages = [Stage(self.ensemble, self.ramp_steps, (self.temperature, self.final_temperature), *common)]
        if self.steps > self.ramp_steps:
            stages.append(Stage(self.ensemble, self.steps - self.ramp_steps, self.final_temperature, *common))
        return Schedule(stages)

    def gate(self, potential: Potential) -> UncertaintyGate:
        """What watches."""
        return UncertaintyGate(
            potential,
            self.force_std,
            self.energy_std,
            patience=self.patience,
            every=self.gate_every,
            action=self.on_event,
        )


@dataclass(frozen=True)
class MdRun:
    """A run: its settings, its model, and what of its first structure a trajectory does not hold.

    Attributes
    ----------
    settings : MdSettings
    model : str
        SHA-256 of the model file.
    constraints : list of dict
        Of the atoms, as ASE writes them.
    """

    settings: MdSettings
    model: str
    constraints: list[dict[str, Any]]

    @classmethod
    def begun(cls, settings: MdSettings, model: Path, atoms: Atoms) -> Self:
        """A new run."""
        return cls(settings, _digest(model), atoms_to_dict(atoms)["constraints"])

    @classmethod
    def read(cls, trajectory: Path) -> Self:
        """The run that a trajectory is of.

        Raises
        ------
        KernpotError
            There is no file beside the trajectory, or not one of a run.
        """
        path = run_file(trajectory)
        if not path.is_file():
            raise KernpotError(
                f"{trajectory} has no {path.name} beside it, which says how it was run; without that a run cannot go "
                "on as it was. Start a new one from its last frame, with another --output"
            )
        found = read_json(path)
        try:
            if found["format"] != _FORMAT:
                raise KernpotError(f"{path} was written by another version of kernpot; resume with that one")
            return cls(MdSettings(**found["settings"]), found["model"], found["constraints"])
        except (KeyError, TypeError) as error:
            raise KernpotError(f"{path} is no file that kernpot md wrote ({error!r}); restore it") from None

    def write(self, trajectory: Path) -> None:
        """Put it beside the trajectory."""
        content = {"format": _FORMAT, "versions": library_versions(), **asdict(self)}
        write_atomically(run_file(trajectory), json.dumps(content, indent=1) + "\n")

    def up_to(self, steps: int) -> Self:
        """The same run with another number of steps."""
        return replace(self, settings=replace(self.settings, steps=steps))

    def require_same(self, given: Mapping[str, Any], model: Path) -> None:
        """Refuse options and a model that are not those of the run.

        Raises
        ------
        KernpotError
            With the name of each option and both values.
        """
        told = [
            f"--{name.replace('_', '-')}: the run has {_shown(known)}, got {_shown(value)}"
            for name, value in given.items()
            if value != (known := getattr(self.settings, name))
        ]
        if told:
            raise KernpotError(
                f"{'; '.join(told)}. --resume goes on as the run began: leave out all options but --steps, or start a "
                "new run with another --output"
            )
        if (now := _digest(model)) != self.model:
            raise KernpotError(
                f"{model} is another model (SHA-256 {now[:12]}...) than the one the run was made with "
                f"({self.model[:12]}...). Resume with that one, or start a new run from the last frame: kernpot md "
                f"{model} TRAJECTORY --output OTHER.xyz"
            )

    def constrain(self, atoms: Atoms) -> None:
        """Give atoms the constraints of the run."""
        atoms.set_constraint([dict2constraint(constraint) for constraint in self.constraints])


def run_file(trajectory: Path) -> Path:
    """Name of the file beside a trajectory."""
    return trajectory.with_name(f"{trajectory.stem}.run.json")


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

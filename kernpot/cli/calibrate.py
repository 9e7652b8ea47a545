"""`kernpot calibrate`: error bars by structures that the fit has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kernpot.cli.changed import ChangedModel, Replace, changed_file
from kernpot.cli.console import console, progress_bars, shown
from kernpot.cli.error_bars import ErrorBarsOf, kind_of
from kernpot.cli.options import EnergyKey, ForcesKey, Model, StressKey
from kernpot.files.container import load
from kernpot.structures import read_structures


def calibrate(
    model: Model,
    held_out: Annotated[
        list[Path],
        typer.Argument(help="Files with labelled structures, 5 or more, none of them learnt.", show_default=False),
    ],
    output: ChangedModel = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    force: Replace = False,
) -> None:
    """Make error bars those of errors on structures that the fit has not seen.

    Means stay as they are. A fit is calibrated already, by structures left
    out of it; more of the kind that will be asked about make it sharper.
    Every config_type of five structures or more has a factor of its own,
    which structures of that config_type take from then on, if the factor's
    90 % interval (in brackets) leaves out 1.
    Judge the outcome by structures that neither fit nor calibration saw.

    [bold]Example[/]

      kernpot calibrate si.kernpot held_out.xyz -o si_calibrated.kernpot
    """
    target = changed_file(model, output, force, held_out)
    potential = load(model)
    structures = read_structures(held_out, energy_key, forces_key, stress_key)
    with progress_bars("Predictions"):
        potential.calibrate(structures)
    potential.save(target)
    update = potential.summary_["updates"][-1]
    own = kind_of(potential) == ErrorBarsOf.draws and "calibration_of_draws" in update
    for kind, found in update["calibration_of_draws" if own else "calibration"].items():
        console.print(f"{kind}: misfit times {_told(found)}", soft_wrap=True)
        for name, of_group in found["groups"].items():
            taken = "" if of_group["taken"] else "; not sure to be other than 1: left as it is"
            console.print(f"  {shown(name)}: std times {_told(of_group)}{taken}", soft_wrap=True)
    console.print(f"wrote [bold]{shown(target)}[/]", soft_wrap=True)
    console.print(f"[dim]next: kernpot evaluate {shown(target)} TEST.xyz --report report/[/]", soft_wrap=True)


def _told(found: dict[str, Any]) -> str:
    """A factor, how sure it is, and what it changes."""
    return (
        f"{found['factor']:.3g} ({found['low']:.3g} to {found['high']:.3g}) by {found['structures']} structures: 90 % "
        f"intervals held {100 * found['inside_before']:.0f} %, hold {100 * found['inside_after']:.0f} % "
        f"(CRPS from {found['crps_before']:.3g} to {found['crps_after']:.3g})"
    )

"""The `kernpot` command and what holds for all its parts: help, errors without tracebacks, exit codes."""

from __future__ import annotations

import signal
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import kernpot
from kernpot.cli import (
    add,
    calibrate,
    compare,
    data,
    demo,
    evaluate,
    export,
    fit,
    info,
    ipi,
    label,
    lammps,
    learn,
    md,
    predict,
    properties,
    report,
)
from kernpot.cli.console import console, errors
from kernpot.errors import KernpotError, KernpotWarning, Told

INTERRUPTED = 128 + signal.SIGINT


class _Commands(TyperGroup):
    """Commands whose expected errors end in one message and exit code 1, and Ctrl-C in exit code 130."""

    def invoke(self, ctx: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("default", KernpotWarning)
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                errors.print("interrupted")
                raise typer.Exit(INTERRUPTED) from None
            except (KernpotError, OSError) as error:
                errors.print("[bold red]error:[/] ", end="")
                errors.print(told_of(error), markup=False, soft_wrap=True)
                raise typer.Exit(1) from None


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    # Other libraries' deprecations are no business of somebody at the command line.
    if issubclass(category, KernpotWarning):
        errors.print("[bold yellow]warning:[/] ", end="")
        errors.print(told_of(message), markup=False, soft_wrap=True)


def told_of(message: BaseException | Warning | str) -> str:
    """A message, its remedy in options rather than in Python."""
    return message.on_command_line if isinstance(message, Told) else str(message)


app = typer.Typer(
    cls=_Commands,
    help="""Potential-energy surfaces with error bars, learnt from quantum-mechanical calculations.

    [bold]A first tour[/]: kernpot demo

    [bold]Your own data[/] (anything ASE reads; energies in eV, forces in eV/Å):

      kernpot fit train.xyz -o si.kernpot
      kernpot evaluate si.kernpot test.xyz --report report/
      kernpot compare train.xyz -o comparison/    [dim]which backend for these data?[/]
      kernpot md si.kernpot start.xyz --temperature 600
      kernpot properties si.kernpot diamond.xyz
      kernpot info si.kernpot

    [bold]No data yet[/], only a structure and a quantum code:

      kernpot learn learn.yaml --init
      kernpot learn learn.yaml

    [dim]Exit codes: 0 done, 1 an error (one message says what), 2 wrong usage, 3 the gate stopped a simulation,
    4 waiting for labels, 130 interrupted.[/]
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("fit")(fit.fit)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("md")(md.md)
app.add_typer(data.app, name="data")
app.command("label")(label.label)
app.command("add")(add.add)
app.command("predict")(predict.predict)
app.command("calibrate")(calibrate.calibrate)
app.command("learn")(learn.learn)
app.command("lammps")(lammps.lammps)
app.command("ipi")(ipi.ipi)
app.command("export")(export.export)
app.command("report")(report.report)
app.command("properties")(properties.properties)
app.command("info")(info.info)


def _print_version(wanted: bool) -> None:
    if wanted:
        console.print(f"kernpot {kernpot.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    app()

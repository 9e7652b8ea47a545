"""The `kernpot` command and what holds for all its parts: help, errors without tracebacks, exit codes."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

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
from kernpot.report.plain import visible

INTERRUPTED = 128 + signal.SIGINT
# Name of the environment variable that lets errors nobody foresaw through as they are.
_TRACEBACK = "KERNPOT_TRACEBACK"


class _Ended(KeyboardInterrupt):
    """SIGTERM: ends what is done as Ctrl-C does, and so the processes that were started for it."""


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the second one ends it at once
    raise _Ended


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Commands(TyperGroup):
    """Commands whose expected errors end in one message and exit code 1, and Ctrl-C in exit code 130."""

    def invoke(self, ctx: Any) -> Any:
        with _ended_by_sigterm(), warnings.catch_warnings():
            warnings.simplefilter("default", KernpotWarning)
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except _Ended:
                errors.print("ended by SIGTERM")
                raise typer.Exit(128 + signal.SIGTERM) from None
            except KeyboardInterrupt:
                errors.print("interrupted")
                raise typer.Exit(INTERRUPTED) from None
            except (KernpotError, OSError) as error:
                raise _told(told_of(error)) from None
            except RecursionError:
                raise _told("the input is nested too deeply to be read") from None
            except MemoryError as error:
                raise _told(f"there is not enough memory for this ({error}); ask for less") from None
            except Exception as error:
                # Exits and wrong usage, of typer's own or of click, have a code already.
                if hasattr(error, "exit_code") or isinstance(error, typer.Abort) or os.environ.get(_TRACEBACK):
                    raise
                raise _told(
                    f"{type(error).__name__}: {error}. Nothing foresaw this: please report it, with what the same "
                    f"command prints after export {_TRACEBACK}=1"
                ) from None


def _told(message: str) -> typer.Exit:
    """Exit code 1, after one message."""
    errors.print("[bold red]error:[/] ", end="")
    errors.print(message, markup=False, soft_wrap=True)
    return typer.Exit(1)


class _Command(TyperCommand):
    """A command whose numbers are finite: of themselves, bounds let 'nan' and 'inf' pass."""

    def invoke(self, ctx: Any) -> Any:
        for name, value in ctx.params.items():
            if isinstance(value, float) and not math.isfinite(value):
                hint = f"--{name.replace('_', '-')}"
                raise typer.BadParameter(f"expected a finite number, got {value}", ctx=ctx, param_hint=hint)
        return super().invoke(ctx)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    # Other libraries' deprecations are no business of somebody at the command line.
    if issubclass(category, KernpotWarning):
        errors.print("[bold yellow]warning:[/] ", end="")
        errors.print(told_of(message), markup=False, soft_wrap=True)


def told_of(message: BaseException | Warning | str) -> str:
    """A message, its remedy in options rather than in Python."""
    return visible(message.on_command_line if isinstance(message, Told) else message)


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
    4 waiting for labels, 130 interrupted, 143 ended by SIGTERM.[/]
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


for command in (*app.registered_commands, *data.app.registered_commands):
    command.cls = _Command


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may hold what no terminal can show
    app()

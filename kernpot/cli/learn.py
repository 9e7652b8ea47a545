"""`kernpot learn`: from one geometry and a quantum code to a potential, with every label on disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from ase.build import molecule
from ase.io import write

from kernpot.cli.config.build import CONFIG, first_structures, make_learner, prepare_run
from kernpot.cli.config.origin import note_origin, require_own
from kernpot.cli.config.reading import read_config
from kernpot.cli.console import console, errors, print_finding, shown, view_console
from kernpot.cli.live import LiveView
from kernpot.cli.options import new_file
from kernpot.dynamics.learner import Outcome
from kernpot.dynamics.run_directory import Record
from kernpot.errors import KernpotError
from kernpot.report.timeline import read_timeline, timeline_findings, write_timeline

INTERRUPTED, WAITING = 130, 4
EXIT_CODES = {"finished": 0, "max_labels": 0, "interrupted": INTERRUPTED, "waiting": WAITING}
_TEMPLATE = Path(__file__).parent / "config" / "template.yaml"
_START = "ethanol.xyz"
_SECONDS_BETWEEN_PAGES = 60.0


def learn(
    config: Annotated[Path | None, typer.Argument(help="File with the settings (YAML).", show_default=False)] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", "-d", help="Run directory. [dim]Named after the file[/]", show_default=False),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this directory.", show_default=False)
    ] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Go on with a run of another user, or from elsewhere."),
    ] = False,
    init: Annotated[bool, typer.Option("--init", help="Write a commented file of settings, and stop.")] = False,
) -> None:
    """Learn a potential while simulating with it: where it does not know, a quantum code is asked.

    Starts from one structure. The simulation stops where a force becomes too
    uncertain, asks for labels there, learns them, goes back to the last
    structure it could trust, and goes on. Labels are on disk before they are
    used: Ctrl-C, a crash or a power cut loses nothing.

    The run directory holds the potential (model.kernpot), all labels,
    trajectories with error bars, and timeline.html, which tells the story.

    Settings may name a program that computes labels, which is started with
    your rights: read those of others before you use them. A run that another
    user began, or that was copied here, goes on with --trust.

    [bold]Examples[/]

      kernpot learn learn.yaml --init

      kernpot learn learn.yaml --directory run1

      kernpot learn --resume run1

    [dim]Exit codes: 0 done, 1 an error, 4 waiting for labels that somebody else computes (resume then), 130 interrupted
    (resume).[/]
    """
    if init:
        _write_template(config or Path("learn.yaml"))
        return
    if (config is None) == (resume is None):
        raise typer.BadParameter("give a file of settings, or --resume DIRECTORY; --init writes a file to begin with")
    if resume is not None:
        place = resume
        if directory is not None:
            raise typer.BadParameter("a resumed run stays where it is", param_hint="--directory")
        if not (place / CONFIG).is_file():
            raise KernpotError(f"{place} is no run of kernpot learn: expected {CONFIG} in it, found none")
        settings = read_config(place / CONFIG)
        if trust:
            note_origin(place)
        else:
            require_own(settings, place / CONFIG)
    else:
        assert config is not None
        read = read_config(config)
        place = directory or config.with_suffix("")
        settings = prepare_run(read, config.parent, place)
    view = LiveView(view_console(), place.resolve().name)
    learner = make_learner(settings, place, first_structures(settings, place), _observer(view, place))
    try:
        with view.shown():
            outcome = learner.run()
    except KeyboardInterrupt:
        errors.print(f"aborted; nothing that was labelled is lost: kernpot learn --resume {place}", markup=False)
        raise
    _conclude(outcome, place)


def _observer(view: LiveView, directory: Path) -> Callable[[Record], None]:
    """Shows events, and writes the page anew after a fit, though no more than once a minute."""
    written = time.monotonic()

    def observe(record: Record) -> None:
        nonlocal written
        view.observe(record)
        fitted = record["event"] == "learn" and record["kind"] == "fit"
        if fitted and time.monotonic() - written > _SECONDS_BETWEEN_PAGES:
            with suppress(KernpotError):  # the learner itself speaks up when the disk is full, and loses nothing
                write_timeline(directory)
            written = time.monotonic()

    return observe


def _conclude(outcome: Outcome, directory: Path) -> None:
    """Say how it ended, what was found, and what to do next."""
    page = write_timeline(directory)
    failed = f", {outcome.failed} set aside" if outcome.failed else ""
    console.print(f"{outcome.reason}: {outcome.message}", markup=False, soft_wrap=True)
    console.print(f"{outcome.labels} labels learnt, {outcome.audited} kept for the audit{failed}")
    for finding in timeline_findings(read_timeline(directory)):
        print_finding(finding)
    if outcome.model.exists():
        console.print(f"wrote [bold]{shown(outcome.model)}[/] and [bold]{shown(page)}[/]", soft_wrap=True)
    code = EXIT_CODES.get(outcome.reason, 1)
    if code:
        errors.print(f"go on: kernpot learn --resume {directory}", markup=False, soft_wrap=True)
        raise typer.Exit(code)


def _write_template(path: Path) -> None:
    """A file of settings that works as it is, and the structure it begins with."""
    for file in (path, path.parent / _START):
        if file.exists():
            raise KernpotError(f"{file} exists, and is not replaced; give another file name, in another folder")
        new_file(file, force=False)
    start = path.parent / _START
    path.write_text(_TEMPLATE.read_text(encoding="utf-8").replace("learn.yaml", path.name), encoding="utf-8")
    write(start, molecule("CH3CH2OH"), format="extxyz")
    console.print(
        f"wrote [bold]{shown(path)}[/] and [bold]{shown(start)}[/]; read it, then: kernpot learn {shown(path)}",
        soft_wrap=True,
    )

"""`kernpot data`: what is in labelled structures, and the files that fits and tests want."""

from __future__ import annotations

import typer

from kernpot.cli.data import convert, inspect, select, split

app = typer.Typer(
    help="Look at labelled structures, part them, choose among them, convert them.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.command("inspect")(inspect.inspect)
app.command("split")(split.split)
app.command("select")(select.select)
app.command("convert")(convert.convert)

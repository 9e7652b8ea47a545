"""Command lines of benchmarks: what is wrong with one is said in one sentence, and the exit status is 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Parser of a benchmark's arguments.

    Parameters
    ----------
    name : str
        ``SUBJECT NAME``.
    about : str or None
        The module's docstring.
    """

    def __init__(self, name: str, about: str | None) -> None:
        super().__init__(
            prog=f"python -m benchmarks {name}",
            description=about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog="--smoke FOLDER runs it at a size of seconds and stores into FOLDER.",
        )

    def error(self, message: str) -> NoReturn:
        """End with one sentence."""
        stop(message)


def stop(message: str) -> NoReturn:
    """End because of what the command line says."""
    print(f"{message[0].upper()}{message[1:].rstrip('.')}.", file=sys.stderr)
    raise SystemExit(2)


def nothing(name: str, about: str | None, arguments: Sequence[str]) -> None:
    """Read the command line of a benchmark without arguments."""
    Parser(name, about).parse_args(arguments)


def some_of(
    name: str,
    about: str | None,
    known: Collection[str],
    arguments: Sequence[str],
    default: Collection[str] | None = None,
) -> list[str]:
    """Names on the command line of a benchmark; the default, or all, where there are none."""
    parser = Parser(name, about)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(known)}")
    return known_ones(known, parser.parse_args(arguments).names) or list(default or known)


def known_ones(known: Collection[str], names: Sequence[str]) -> list[str]:
    """The names; one that is not known ends the program."""
    if unknown := [name for name in names if name not in known]:
        stop(f"expected some of {', '.join(known)}, got {', '.join(unknown)}")
    return list(names)

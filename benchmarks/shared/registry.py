"""Which measurements there are: every subject's package names its own."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

SUBJECTS = ("accuracy", "speed", "error_bars", "engines", "networks", "learning", "inputs")


class Measurement(NamedTuple):
    """One that can be run.

    Attributes
    ----------
    about : str
        One line.
    module : str
        Of the subject's package; named as the measurement where empty.
    arguments : tuple of str
        What comes before those of the command line.
    """

    about: str
    module: str = ""
    arguments: tuple[str, ...] = ()


def about(subject: str) -> str:
    """What a subject is about, in one line."""
    return (import_module(f"benchmarks.{subject}").__doc__ or "").strip().splitlines()[0]


def measurements(subject: str) -> dict[str, Measurement]:
    """Those of a subject, by name."""
    found: dict[str, Measurement] = import_module(f"benchmarks.{subject}").MEASUREMENTS
    return found


def module_of(subject: str, name: str) -> str:
    """Full name of the module that measures."""
    return f"benchmarks.{subject}.{measurements(subject)[name].module or name}"

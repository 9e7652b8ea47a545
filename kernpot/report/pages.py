"""How all pages are made: from templates that escape what they are given and miss nothing in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from kernpot.report.plain import as_text


def templates(**filters: Callable[..., Any]) -> Environment:
    """The templates of this package, with filters by name."""
    environment = Environment(
        loader=PackageLoader("kernpot.report", "."),
        autoescape=True,
        finalize=as_text,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= filters
    return environment

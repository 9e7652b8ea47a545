"""The option that says where error bars come from."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from kernpot.potential import Potential


class ErrorBarsOf(StrEnum):
    """Where error bars come from."""

    exact = "exact"
    draws = "draws"


ErrorBarsOption = Annotated[
    ErrorBarsOf | None,
    typer.Option(
        help="Of the whole posterior, or of the model's shared draws: at about the cost of the mean. [dim]As the "
        "model has it: exact, unless it was saved otherwise[/]",
        show_default=False,
    ),
]


def with_error_bars(potential: Any, error_bars: str | None) -> Potential:
    """A loaded potential with error bars of that kind, or of its own; those with one kind alone stay as they are.

    Raises
    ------
    KernpotError
        It has no shared draws.
    """
    learner = getattr(potential, "learner_", potential)
    if hasattr(learner, "error_bars"):
        if error_bars is not None:
            learner.set_params(error_bars=error_bars)
        potential.predict_full([])  # what cannot be had is refused before work starts
    found: Potential = potential
    return found


def kind_of(potential: Any) -> str:
    """Which kind of error bars a potential has."""
    return str(getattr(getattr(potential, "learner_", potential), "error_bars", ErrorBarsOf.exact.value))

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
    ErrorBarsOf,
    typer.Option(help="Of the whole posterior, or of the model's shared draws: at about the cost of the mean."),
]


def with_error_bars(potential: Any, error_bars: str) -> Potential:
    """A loaded potential with error bars of that kind; those with one kind alone stay as they are.

    Raises
    ------
    KernpotError
        It has no shared draws.
    """
    learner = getattr(potential, "learner_", potential)
    if hasattr(learner, "error_bars"):
        learner.set_params(error_bars=error_bars)
        potential.predict_full([])  # what cannot be had is refused before work starts
    found: Potential = potential
    return found

"""One thing to try, and what came of it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

from kernpot.calibration.residuals import log_score
from kernpot.parameters import is_real, is_whole
from kernpot.tuning.candidates import Settings


@dataclass(frozen=True)
class Request:
    """A fit to make.

    Attributes
    ----------
    settings : Settings
        Of its descriptor.
    n_inducing : int
    n_structures : int
        Structures it is made to: the sample, or all.
    """

    settings: Settings
    n_inducing: int
    n_structures: int


@dataclass(frozen=True)
class Trial:
    """A fit that was made.

    Attributes
    ----------
    request : Request
    mae : dict of str to float
        Mean absolute errors on structures left out, by kind of label: eV/atom, eV/A, eV/A^3.
    seconds : float
    refused : str
        Why there is no fit; else empty.
    """

    request: Request
    mae: dict[str, float]
    seconds: float
    refused: str = ""

    @property
    def score(self) -> float:
        """Sum over kinds of labels of the log of the error: the lower the better; infinite without a fit."""
        return log_score(self.mae) if self.mae else math.inf

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """From what :meth:`to_dict` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is something else.
        """
        request = data["request"]
        found = cls(Request(**request | {"settings": Settings(**request["settings"])}), **_rest(data))
        numbers = [*found.mae.values(), found.seconds]
        counts = (found.request.n_inducing, found.request.n_structures)
        if not (all(is_real(x, 0) for x in numbers) and all(is_whole(n, 1) for n in counts)):
            raise ValueError("numbers out of range")
        if not isinstance(found.refused, str) or bool(found.mae) == bool(found.refused):
            raise ValueError("expected errors, or the reason why there are none")
        return found


def _rest(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != "request"}

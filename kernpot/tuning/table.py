"""What was tried, for people: a row for each trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase import units

_SHOWN = {"energy": (1000.0, "meV/atom"), "forces": (1.0, "eV/Å"), "stress": (1 / units.GPa, "GPa")}


def table(tuning: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of cells by the name of their column, in the order of trials.

    Parameters
    ----------
    tuning : mapping
        ``summary_["tuning"]`` of a potential that was tuned.
    """
    trials = tuning["trials"]
    kinds = list(dict.fromkeys(kind for trial in trials for kind in trial["mae"]))
    return [_row(k, trial, kinds, tuning["best"]) for k, trial in enumerate(trials)]


def _row(index: int, trial: Mapping[str, Any], kinds: list[str], best: int) -> dict[str, str]:
    request, settings = trial["request"], trial["request"]["settings"]
    row = {
        "trial": f"{index + 1}{' *' if index == best else ''}",
        "structures": str(request["n_structures"]),
        "inducing": str(request["n_inducing"]),
        "cutoff": f"{settings['r_cut']:g}",
        "n, l": f"{settings['n_max']}, {settings['l_max']}",
        "sigma": f"{settings['sigma']:g}",
        "m": f"{settings['m']:g}",
        "compression": settings["compression"],
    }
    for kind in kinds:
        factor, unit = _SHOWN.get(kind, (1.0, ""))
        row[f"{kind} {unit}".rstrip()] = f"{factor * trial['mae'][kind]:.3g}" if kind in trial["mae"] else "-"
    return row | {"score": "-" if trial["refused"] else f"{trial['score']:.3f}", "s": f"{trial['seconds']:.1f}"}

"""What a fit says of itself, in sentences: whether inducing environments limit it, and what close atoms do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ase.data import chemical_symbols

from kernpot.dynamics.reasons import DEFAULT_FORCE_STD
from kernpot.properties.contacts import Pressed
from kernpot.report.findings import Finding
from kernpot.uncertainty.evaluation import ALL

# Part of the errors on structures left out that the second half of the inducing environments took away: above the
# first more of them would take more, below the second nothing worth their cost.
_LIMITED, _ENOUGH = 0.1, 0.04


def inducing_finding(summary: Mapping[str, Any], n_inducing: int) -> Finding | None:
    """Whether more inducing environments would help; None where nothing tells.

    Parameters
    ----------
    summary : mapping
        ``summary_`` of a Gaussian process.
    n_inducing : int
        Those it has.
    """
    found = summary.get("hyperparameters", {}).get("whole_space")
    if found is not None:
        logs = [math.log(error / found["errors_before"][kind]) for kind, error in found["errors"].items()]
        text = (
            f"its mean was sought among all quadratic forms of the features, in {found['steps']} steps; errors on "
            f"{found['structures']} structures left out fell by {100 * (1 - math.exp(sum(logs) / len(logs))):.0f} %"
        )
        return Finding("good", f"Inducing environments do not limit the mean of this model: {text}.", ALL)
    scores = summary.get("hyperparameters", {}).get("scores")
    if scores is None:
        return None
    fall = 1.0 - math.exp((scores["whole"] - scores["half"]) / scores["kinds"])
    text = (
        f"errors on structures left out fell by {100 * max(fall, 0.0):.0f} % from half of its {n_inducing} inducing "
        "environments to all"
    )
    growth = summary.get("growth")
    if growth is not None:
        text += f"; it took no more because {growth['stopped']}"
    if fall < _ENOUGH:
        return Finding("good", f"Inducing environments do not limit this model: {text}.", ALL)
    if fall < _LIMITED:
        return Finding("note", f"More inducing environments would help a little: {text}.", ALL)
    more = "give --tune more minutes" if "tuning" in summary else "ask for more with --n-inducing, if there are any"
    return Finding("warning", f"Inducing environments limit this model: {text}; {more}.", ALL)


def contact_findings(pressed: Sequence[Pressed]) -> list[Finding]:
    """Whether energies rise when neighbours are pressed together below the closest distance learnt."""
    if not pressed:
        return []
    found = [Finding(_verdict(one), _sentence(one), ALL) for one in pressed if one.falls_below is not None]
    if not found:
        pairs = {one.pair for one in pressed}
        text = (
            f"Energies rise when atoms are pressed to 0.7 of their closest distance ({len(pairs)} pair(s) of elements)."
        )
        return [Finding("good", text, ALL)]
    return sorted(found, key=lambda finding: finding.verdict != "warning")


def _verdict(one: Pressed) -> Literal["warning", "note"]:
    return "warning" if one.force_std is not None and one.force_std < DEFAULT_FORCE_STD else "note"


def _sentence(one: Pressed) -> str:
    pair = "-".join(chemical_symbols[z] for z in one.pair)
    stops = (
        "a gate at its default threshold does not stop there: learn closer atoms, or add a repulsive baseline"
        if _verdict(one) == "warning"
        else "a gate at its default threshold stops there"
    )
    return (
        f"{pair}, {one.where}: the energy falls by {one.fall:.2g} eV when the atoms are pressed below "
        f"{one.falls_below:.2f} Å (closest in training {one.closest:.2f} Å), where a force has a std of "
        f"{one.force_std:.2g} eV/Å; {stops}."
    )

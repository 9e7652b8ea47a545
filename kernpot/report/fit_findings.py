"""What a fit says of itself, in sentences: whether inducing environments limit it, and what close atoms do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ase.data import chemical_symbols

from kernpot.dynamics.reasons import DEFAULT_FORCE_STD
from kernpot.properties.contacts import Pressed
from kernpot.report.findings import Finding
from kernpot.uncertainty.evaluation import ALL

# Parts of the squared error on structures left out above which more inducing environments would lessen it.
_LIMITS = {"energy": 0.1, "forces": 0.25}


def inducing_finding(summary: Mapping[str, Any], n_inducing: int) -> Finding | None:
    """Whether more inducing environments would help; None where nothing tells, or there are no more.

    Parameters
    ----------
    summary : mapping
        ``summary_`` of a Gaussian process.
    n_inducing : int
        Those it has.
    """
    shares = summary.get("hyperparameters", {}).get("leave_one_out", {}).get("unrepresented", {})
    n_environments = summary["data"]["atoms"]
    if not shares or n_inducing >= n_environments:
        return None
    told = " and ".join(
        f"{100 * min(shares[kind], 1):.0f} % of that of {_OF[kind]}" for kind in _LIMITS if kind in shares
    )
    text = (
        f"what {n_inducing} of {n_environments} environments cannot represent is {told} "
        "(squared errors on structures left out)"
    )
    if any(shares.get(kind, 0.0) > limit for kind, limit in _LIMITS.items()):
        more = "give --tune more minutes" if "tuning" in summary else "ask for more with --n-inducing"
        return Finding("warning", f"Inducing environments limit this model: {text}; {more}.", ALL)
    # A small share is no proof: what more would bring is known when they are there.
    return Finding("note", f"No sign that inducing environments limit this model: {text}; more may still help.", ALL)


_OF = {"energy": "energies", "forces": "forces"}


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

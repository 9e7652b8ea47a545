"""Which of two energies is the label: the one whose derivative the forces are.

With smeared occupations a code gives a free energy and an energy extrapolated to no smearing; forces are the derivative
of the first. Files, calculators and oracles all follow this one rule.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from kernpot.errors import KernpotWarning

_SAME = 1e-6
"""Energies no further apart, in eV, are one."""


def energy_of_forces(results: Mapping[str, Any]) -> Any:
    """``free_energy`` where there is one, else ``energy``; None where there is neither."""
    free = results.get("free_energy")
    return results.get("energy") if free is None else free


def warn_of_mixed_energies(labelled: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Warn when some structures have a free energy that differs from the energy, and others an energy alone.

    Parameters
    ----------
    labelled : sequence of (str, mapping)
        How messages name each structure, and the results its energy was taken from.
    """
    both = [source for source, results in labelled if _differ(results)]
    alone = [source for source, results in labelled if "energy" in results and results.get("free_energy") is None]
    if both and alone:
        warnings.warn(
            f"{len(both)} structures (from {both[0]} on) have a free energy that differs from their energy, and it is"
            f" taken, as the forces are its derivative; {len(alone)} (from {alone[0]} on) have an energy alone, which"
            " may be the one extrapolated to no smearing. Give the free energy for all.",
            KernpotWarning,
            stacklevel=4,
        )


def _differ(results: Mapping[str, Any]) -> bool:
    energy, free = results.get("energy"), results.get("free_energy")
    try:
        return energy is not None and free is not None and abs(float(energy) - float(free)) > _SAME
    except (TypeError, ValueError):
        return False  # the check of labels says what is wrong

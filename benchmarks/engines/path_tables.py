"""What path_integrals.py measured, for docs/path-integrals.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ase import units

from benchmarks.shared.results import written
from benchmarks.shared.tables import not_yet


def path_integrals(r: dict[str, Any]) -> str:
    """The measured part of the page."""
    rows = []
    for site, kinds in r["kinetic"].items():
        for isotope, t in kinds.items():
            cells = [f"{1e3 * t[k]:.1f}" for k in ("mean", "sampling_std", "potential_std", "reference")]
            rows.append(f"| {isotope} at the {site} | " + " | ".join(cells) + " |")
    p, s, errors = r["preference"], r["settings"], r["force_rmse_of_beads"]
    low, high = (1e3 * x for x in p["interval"])
    inside = "inside" if p["interval"][0] <= p["reference"] <= p["interval"][1] else "outside"
    head = ["| kinetic energy, meV | kernpot | std of sampling | std of the potential | GFN2-xTB |", "| --- " * 5 + "|"]
    return (
        "\n".join(head + rows) + "\n\n"
        f"Classically every one of them would be {1.5e3 * units.kB * s['temperature_K']:.1f} meV. Moving deuterium "
        f"from the methyl group to the hydroxyl changes the free energy by **{1e3 * p['mean']:.1f} meV**, 90 % "
        f"interval {low:.1f} to "
        f"{high:.1f} meV (std of sampling {1e3 * p['sampling_std']:.1f}, of the potential "
        f"{1e3 * p['potential_std']:.1f} meV); GFN2-xTB on the same ring polymers, reweighted, says "
        f"{1e3 * p['reference']:.1f} meV, {inside} the interval. {s['beads']} beads, {s['steps']:,} steps of "
        f"{s['timestep_fs']} fs for each of five runs, {s['draws']} draws; {s['seconds'] / 60:.0f} minutes on "
        f"{s['cores']} cores in all. Forces on beads that were not learnt: rms error {errors['before']:.3f} eV/A "
        f"before and {errors['after']:.3f} eV/A after learning from beads."
    )


def section() -> str:
    """The same of what is stored."""
    stored = written("engines/path_integrals")
    return not_yet("engines path_integrals") if stored is None else path_integrals(stored)


SECTIONS: dict[str, Callable[[], str]] = {"path_integrals": section}

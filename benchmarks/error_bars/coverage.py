"""Whether 90 % intervals hold what they promise on data unlike the training data.

    python -m benchmarks error_bars coverage            # all families of shifts.py, about six minutes on one core

Every split is fitted with one setting for its family; nothing is chosen by the numbers that come out. Writes
results/coverage.json and docs/figures/coverage.png.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from ase import Atoms

from benchmarks.error_bars.shifts import FAMILIES, Split
from benchmarks.shared.command_line import some_of
from benchmarks.shared.datasets import species_of
from benchmarks.shared.results import figure_path, write_result
from benchmarks.shared.timing import Clock
from kernpot.potential import Potential
from kernpot.uncertainty import evaluate

mpl.use("Agg")
from matplotlib import pyplot as plt

LEVELS = (0.5, 0.68, 0.9, 0.95)


def judged(potential: Potential, frames: list[Atoms]) -> dict[str, Any]:
    """Errors and coverage by kind of label."""
    return {
        metrics.kind: {
            "n": metrics.n_components - metrics.n_vanishing,
            "rmse": metrics.rmse,
            "sharpness": metrics.sharpness,
            "rms_z": metrics.rms_z,
            "spearman": metrics.spearman,
            "coverage": {str(level): metrics.coverage[level] for level in LEVELS},
            "unit": metrics.unit,
        }
        for metrics in evaluate(potential, frames).metrics
        if metrics.config_type == "all"
    }


def by_draws(row: dict[str, Any]) -> str:
    """Force components inside intervals of draws."""
    found = row["of_draws"]
    return "-" if found is None else f"{100 * found['forces']['coverage']['0.9']:5.1f} %"


def measure(split: Split) -> list[dict[str, Any]]:
    """One row per group of test structures."""
    gp = split.setting.estimator(species_of(split.train)).fit(split.train)
    rows = []
    for group, frames in split.test.items():
        row: dict[str, Any] = {"split": split.name, "shift": split.shift, "group": group, "structures": len(frames)}
        row |= {"train_structures": len(split.train), "familiar": group in split.familiar}
        row |= judged(gp.set_params(error_bars="exact"), frames)
        # Of few structures there are none.
        row["of_draws"] = None if gp.fitted_.shared is None else judged(gp.set_params(error_bars="draws"), frames)
        rows.append(row)
        f, e = row["forces"], row["energy"]
        print(
            f"{split.name:28s} {group:12s} forces {100 * f['coverage']['0.9']:5.1f} %"
            f" / {100 * f['coverage']['0.5']:4.1f} % of {f['n']:5d}, rms error {f['rmse']:.4f},"
            f" rms std {f['sharpness']:.4f} {f['unit']};"
            f" energies {100 * e['coverage']['0.9']:4.0f} % of {e['n']};"
            f" by draws forces {by_draws(row)}",
            flush=True,
        )
    return rows


def draw(rows: list[dict[str, Any]]) -> None:
    """Coverage of 90 % intervals of force components, group by group."""
    chosen = [r for r in rows if r["forces"]["n"] >= 100]
    figure, axes = plt.subplots(figsize=(7, 0.19 * len(chosen) + 1), layout="constrained")
    axes.axvspan(85, 95, color="#009E73", alpha=0.15, linewidth=0, label="85 to 95 %")
    axes.axvline(90, color="#009E73", linewidth=1)
    for y, row in enumerate(chosen):
        colour = "#0072B2" if row["familiar"] else "#D55E00"
        axes.plot(100 * row["forces"]["coverage"]["0.9"], y, "o", color=colour, markersize=5)
    axes.set_yticks(range(len(chosen)), [f"{r['split']}: {r['group']}" for r in chosen], fontsize=6.5)
    axes.set(xlabel="force components inside their 90 % intervals, %", xlim=(0, 101), ylim=(len(chosen), -1))
    axes.plot([], [], "o", color="#0072B2", label="like the training data")
    axes.plot([], [], "o", color="#D55E00", label="unlike it")
    axes.legend(loc="lower left", fontsize=8)
    figure.savefig(figure_path("coverage"), dpi=110)


def main(arguments: Sequence[str]) -> None:
    """Measure the named families."""
    families = some_of("error_bars coverage", __doc__, FAMILIES, arguments)
    clock = Clock()
    rows = [row for family in families for split in FAMILIES[family]() for row in measure(split)]
    shifted = [r["forces"]["coverage"]["0.9"] for r in rows if not r["familiar"] and r["forces"]["n"] >= 100]
    below, above = sum(c < 0.85 for c in shifted), sum(c > 0.95 for c in shifted)
    inside = len(shifted) - below - above
    print(f"unfamiliar groups of at least 100 components: {inside} between 85 and 95 %, {below} below, {above} above")
    if set(families) == set(FAMILIES):
        write_result("error_bars/coverage", {"rows": rows, **clock.read()})
        draw(rows)

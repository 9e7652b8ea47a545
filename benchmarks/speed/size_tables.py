"""Tables of what projection.py and updates.py measured, for docs/speed.md."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.shared.results import written
from benchmarks.shared.tables import SYSTEM_NAMES, not_yet, table


def projection() -> str:
    """What inducing environments in few directions cost in accuracy."""
    if (stored := written("speed/projection")) is None:
        return not_yet("speed projection")
    rows = []
    for row in stored["rows"]:
        setting, mae = row["setting"], row["leave_one_out_mae"]
        compression = "" if setting["compression"] == "off" else f", {setting['compression']}"
        rows.append(
            [
                f"{SYSTEM_NAMES.get(row['set'], row['set'])}, zeta = {setting['zeta']}{compression}",
                "all" if setting["n_components"] is None else str(setting["n_components"]),
                f"{1e3 * mae['energy']:.2f}",
                f"{mae['forces']:.4f}",
                f"{row['cpu_s']:.0f}",
            ]
        )
    header = ["model", "n_components", "left-out energy MAE, meV/atom", "left-out force MAE, eV/A", "fit, CPU s"]
    return table(header, rows)


def updates() -> str:
    """What learning more costs."""
    if (r := written("speed/updates")) is None:
        return not_yet("speed updates")
    part = r["partial_fit"]
    rows = [["fit of Si, M = 1000", f"{r['fit']['cpu_s']:.1f}", "-"]]
    rows.append([f"`partial_fit` of one structure of {part['n_atoms']} atoms", f"{np.median(part['cpu_s']):.2f}", "-"])
    rows += [
        [
            f"`add_inducing` of {row['added']}",
            f"{row['cpu_s']:.1f}",
            f"{row['cpu_s_scratch']:.1f}",
        ]
        for row in r["add_inducing"]
    ]
    return table(["", "CPU s", "CPU s of making all rows anew"], rows)


def repeats() -> str:
    """What was done more than once, and is done once."""
    if (r := written("speed/repeats")) is None:
        return not_yet("speed repeats")
    rows = []
    for backend, name in (("gp", "Gaussian process"), ("nnp", "networks")):
        for kind, what in (
            ("searches", "neighbour searches within the cutoff"),
            ("descriptions", "descriptions"),
            ("checks", "checks for atoms on top of each other, before any work"),
        ):
            pair = [f"{r[version]['fit'][backend][kind]:g}" for version in ("before", "now")]
            rows.append([f"fit of {name}: {what}, per structure", *pair])
    for part, what in (("gate", "full checks of a gate on forces"), ("learner", "a short run of the learner")):
        for kind, noun in (
            ("predict_full", "complete predictions"),
            ("force_std", "force stds alone"),
            ("save", "models serialised"),
        ):
            if kind in r["now"][part]:
                rows.append([f"{what}: {noun}", *(str(r[version][part][kind]) for version in ("before", "now"))])
    return table(["", "before", "now"], rows)


def fit_sizes() -> str:
    """Time and memory of fits by structures and inducing environments."""
    if (r := written("speed/fit_sizes")) is None:
        return not_yet("speed fit_sizes")
    rows = [
        [
            str(row["structures"]),
            str(row["n_inducing"]),
            str(row["searched"]),
            f"{row['cpu_s']:.0f}",
            f"{row['peak_memory_GB']:.2f}",
        ]
        for row in sorted(r["rows"], key=lambda row: (row["asked"], row["structures"]))
    ]
    header = ["structures", "inducing environments", "of these in the search", "fit, CPU s", "peak memory, GB"]
    return table(header, rows)


SECTIONS: dict[str, Callable[[], str]] = {
    "fit_sizes": fit_sizes,
    "projection": projection,
    "updates": updates,
    "repeats": repeats,
}

"""Tables of results/selection.json and results/detection.json for the texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from common import RESULTS, read_result
from speed_tables import table


def _row_errors(rows: list[dict[str, Any]], strategy: str, n: int, key: str) -> np.ndarray:
    return np.array([r["test_mae"][key] for r in rows if (r["strategy"], r["structures"]) == (strategy, n)])


def selection() -> str:
    """Test errors against the number of structures, per strategy."""
    if not (RESULTS / "selection.json").exists():
        return "Not measured yet: `python benchmarks/selection.py`."
    rows, reached = [], []
    for name, r in read_result("selection")["sets"].items():
        strategies = list(dict.fromkeys(x["strategy"] for x in r["rows"] if x["strategy"] != "all"))
        sizes = sorted({x["structures"] for x in r["rows"] if x["strategy"] != "all"})
        for strategy in strategies:
            cells = []
            for n in sizes:
                e = _row_errors(r["rows"], strategy, n, "forces")
                cells.append(f"{n}: {e.mean():.4f} ({e.min():.4f} to {e.max():.4f})")
            rows.append([name, strategy, *cells])
            below = [n for n in sizes if _row_errors(r["rows"], strategy, n, "forces").mean() <= r["published_forces"]]
            where = f"{below[0]} of {r['pool']} structures" if below else "none of these numbers of structures"
            reached.append(f"* {name}, {strategy}: {r['published_forces']:.2f} eV/A is reached with {where}.")
        whole = _row_errors(r["rows"], "all", r["pool"], "forces")[0]
        rows.append([name, f"all {r['pool']}", "", "", f"{r['pool']}: {whole:.4f}"])
    header = ["pool", "choice", "an eighth", "a quarter", "half (or all)"]
    lead = "Number of structures: mean test force MAE of five seeds, eV/A (smallest to largest)."
    goal = "The test force MAE published for GAP, trained on the whole pool (in the mean over seeds):"
    return "\n\n".join([lead, table(header, rows), goal, "\n".join(reached)])


def detection() -> str:
    """Areas under the ROC curves."""
    if not (RESULTS / "detection.json").exists():
        return "Not measured yet: `python benchmarks/detection.py`."
    result = read_result("detection")
    names: dict[str, str] = result["names"]
    parts = []
    for case, title in (
        ("left_out", "Among structures of the kind left out"),
        ("both", "Among these and familiar ones"),
    ):
        rows = []
        for r in result["rows"]:
            areas = [r["curves"][case][key]["auc"] for key in names]
            cells = [f"**{a:.2f}**" if a == max(areas) else f"{a:.2f}" for a in areas]
            share = f"{100 * r['bad']['left_out']:.0f} %"
            rows.append([f"{r['set']} without {r['without']}", f"{r['tolerance_eV_A']:.2f}", share, *cells])
        mean = [np.mean([r["curves"][case][key]["auc"] for r in result["rows"]]) for key in names]
        rows.append(["mean", "", "", *(f"{a:.2f}" for a in mean)])
        header = ["trained on", "tolerance, eV/A", "bad of those left out", *names.values()]
        parts.append(f"{title}, area under the ROC curve:\n\n{table(header, rows)}")
    cost = {k: sum(r["cpu_s"][k] for r in result["rows"]) for k in ("novelty", "ensemble", "predict_full")}
    part = {k: f"{100 * cost[k] / cost['predict_full']:.0f} %" for k in ("novelty", "ensemble")}
    parts.append(
        f"`novelty` took {part['novelty']} of the CPU time of `predict_full`; the means of the ensemble took "
        f"{part['ensemble']}, after as many fits."
    )
    return "\n\n".join(parts)


SECTIONS: dict[str, Callable[[], str]] = {"selection": selection, "detection": detection}

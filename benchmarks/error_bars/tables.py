"""Tables of what was measured of uncertainties, for the texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.error_bars.scans import PANELS
from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.results import read_result, written
from benchmarks.shared.tables import not_yet, table


def _row_errors(rows: list[dict[str, Any]], strategy: str, n: int, key: str) -> np.ndarray:
    return np.array([r["test_mae"][key] for r in rows if (r["strategy"], r["structures"]) == (strategy, n)])


def selection() -> str:
    """Test errors against the number of structures, per strategy."""
    if (stored := written("learning/selection")) is None:
        return not_yet("learning selection")
    rows, reached = [], []
    for name, r in stored["sets"].items():
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
    if (result := written("error_bars/detection")) is None:
        return not_yet("error_bars detection")
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


def percent(share: float | None) -> str:
    """A share of one as per cent; a dash where there was nothing to judge."""
    return "-" if share is None or np.isnan(share) else f"{100 * share:.0f} %"


def coverage() -> str:
    """Coverage on the published test parts, overall and per config_type."""
    rows = []
    for name in DATASETS:
        if (stored := written(f"accuracy/accuracy_{name}")) is None:
            continue
        for group, row in stored["test"].items():
            for kind in ("energy", "forces"):
                r = row.get(kind)
                if r is None or (group != "all" and kind == "energy" and row["structures"] < 5):
                    continue
                deciles = r["deciles"]
                rows.append(
                    [
                        name,
                        group,
                        kind,
                        str(r["n"] - r["vanishing"]),
                        *(percent(r["coverage"][level]) for level in ("0.5", "0.68", "0.9", "0.95")),
                        f"{r['rms_z']:.2f}",
                        f"{100 * min(deciles):.0f} to {100 * max(deciles):.0f} %" if deciles else "-",
                        "-" if r["spearman"] is None else f"{r['spearman']:.2f} ({r['spearman_oracle']:.2f})",
                    ]
                )
    header = ["data", "group", "labels", "judged", "50 %", "68 %", "90 %", "95 %", "rms(z)"]
    return table([*header, "90 % in deciles of std", "Spearman (oracle)"], rows)


def shifts() -> str:
    """Coverage on data unlike the training data."""
    if (stored := written("error_bars/coverage")) is None:
        return not_yet("error_bars coverage")
    rows = []
    unfamiliar: dict[str, list[float]] = {"exact": [], "of draws": [], "of networks": []}
    networks = {(r["split"], r["group"]): r for r in (written("error_bars/networks") or {"rows": []})["rows"]}
    for r in stored["rows"]:
        f, e = r["forces"], r["energy"]
        by_draws, net = r.get("of_draws"), networks.get((r["split"], r["group"]))
        if not r["familiar"] and f["n"] >= _MANY:
            unfamiliar["exact"].append(f["coverage"]["0.9"])
            if by_draws:
                unfamiliar["of draws"].append(by_draws["forces"]["coverage"]["0.9"])
            if net:
                unfamiliar["of networks"].append(net["forces"]["coverage"]["0.9"])
        rows.append(
            [
                r["split"],
                r["group"] + (" (like the training data)" if r["familiar"] else ""),
                str(f["n"]),
                f"{f['rmse']:.3g}",
                f"{f['sharpness']:.3g}",
                percent(f["coverage"]["0.5"]),
                percent(f["coverage"]["0.9"]),
                percent(by_draws["forces"]["coverage"]["0.9"]) if by_draws else "-",
                f"{percent(e['coverage']['0.9'])} of {e['n']}",
                percent(net["forces"]["coverage"]["0.9"]) if net else "-",
                percent(net["energy"]["coverage"]["0.9"]) if net else "-",
            ]
        )
    told = []
    for way, found in unfamiliar.items():
        c = np.array(found)
        if len(c):
            told.append(
                f"Of {len(c)} unfamiliar groups of at least {_MANY} force components, 90 % intervals ({way}) hold 85 "
                f"to 95 % in {np.sum((c >= 0.85) & (c <= 0.95))}, less in {np.sum(c < 0.85)} and more in "
                f"{np.sum(c > 0.95)}; at least 80 % in {np.sum(c >= 0.8)}."
            )
    header = ["trained on", "tested on", "force components", "rms error, eV/A", "rms std, eV/A", "in 50 %", "in 90 %"]
    header += ["in 90 %, by draws", "energies in 90 %", "networks: in 90 %", "networks: energies in 90 %"]
    return "\n\n".join([" ".join(told), table(header, rows)])


def scans() -> str:
    """Errors and stds along the scans, and how many components are inside."""
    if (stored := written("error_bars/scans")) is None:
        return not_yet("error_bars scans")
    rows = []
    for name, (label, _) in PANELS.items():
        r = stored[name]
        largest = max(range(len(r["at"])), key=lambda k: r["error"][k])
        inside = [percent(float(np.mean(r[f"inside_{way}"]))) for way in ("exact", "draws")]
        std = [f"{r[f'std_{way}'][largest]:.3g}" for way in ("exact", "draws")]
        rows.append([label, *inside, f"{r['at'][largest]:.4g}", f"{r['error'][largest]:.3g}", *std])
    header = ["along", "in 90 %, exact", "in 90 %, by draws", "largest rms error at", "it is, eV/A", "std, exact"]
    return table([*header, "std, by draws"], rows)


def draws() -> str:
    """Cost of evaluating draws."""
    if (stored := written("speed/draws")) is None:
        return not_yet("speed draws")
    rows = []
    for name, r in stored.items():
        for size in (k for k in r if k.isdigit()) if isinstance(r, dict) else ():
            both, one = (r[k][size]["ratio_to_mean"] for k in ("parameter+unrepresented", "parameter"))
            mean = r[size]
            rows.append(
                [
                    f"{name}, {size} atoms",
                    f"{mean['mean_ms']:.1f}",
                    f"{both['20']:.1f}",
                    f"{one['20']:.1f}",
                    f"{both['64']:.1f}",
                    f"{mean['predict_full_ms'] / mean['mean_ms']:.0f}",
                ]
            )
    header = ["system", "mean, ms", "20 draws", "20 draws, parameter part alone", "64 draws", "every std"]
    return f"CPU time of one thread; all but the first as multiples of the mean.\n\n{table(header, rows)}"


# Fewer force components say little of a coverage.
_MANY = 100


def derived() -> str:
    """Coverage of derived properties by way of drawing."""
    rows = []
    for name in ("derived", "derived_NbTaW"):
        summary = read_result(f"error_bars/{name}")["summary"]
        for row in [s for s in summary if s["way"] == "calibrated"]:
            of = {k: row[k] for k in ("set", "group", "size") if k in row}
            ways = {s["way"]: s for s in summary if {k: s[k] for k in ("set", "group", "size") if k in s} == of}
            sets = "Si, Mo" if name == "derived" else "Nb, Ta, W"
            what = f"{of['set']}: {of['group']}" if "set" in of else f"{sets}: {of['size']} structures" if of else sets
            cells = [f"{100 * ways[w]['covered']:.0f} %" for w in ("bayes", "pops", "calibrated", "exact")]
            rows.append([f"{what} ({row['n']})", *cells])
    header = ["property (values compared)", "plain posterior", "POPS", "calibrated draws (the default)"]
    return table([*header, "the same, linearised"], rows)


def metals() -> str:
    """Coverage of a metal's properties from small training sets and defaults."""
    if (stored := written("error_bars/metals")) is None:
        return not_yet("error_bars metals")
    rows = []
    for symbol, found in stored["elements"].items():
        worst = min(found["summary"], key=lambda s: (s["inside"] / s["n"], s["name"]))
        share = f"{100 * found['covered']:.0f} % of {found['n']}"
        rows.append([symbol, str(found["seeds"]), share, f"{worst['name']}: {worst['inside']} of {worst['n']}"])
    return table(["metal", "training sets", "intervals that hold the exact value", "worst property"], rows)


def two_ways() -> str:
    """Both kinds of error bars on the published test parts, from the same fits with no settings at all."""
    rows = []
    for name in DATASETS:
        r = written(f"accuracy/defaults_{name}")
        if r is None or r.get("of_draws") is None:
            continue
        exact, draws = r["test"]["all"], r["of_draws"]["all"]
        for kind in ("energy", "forces", "stress"):
            if kind not in exact:
                continue
            both = (exact[kind], draws[kind])
            levels = [" / ".join(f"{100 * way['coverage'][level]:.1f}" for way in both) for level in ("0.5", "0.9")]
            ranks = " / ".join("-" if way["spearman"] is None else f"{way['spearman']:.3f}" for way in both)
            rows.append([name, kind, str(exact[kind]["n"]), *levels, ranks])
    if not rows:
        return not_yet("accuracy defaults")
    header = ["data", "labels", "judged", "50 % intervals hold, %", "90 % intervals hold, %"]
    return "Exact / of draws.\n\n" + table([*header, "Spearman of std and error"], rows)


SECTIONS: dict[str, Callable[[], str]] = {
    "coverage": coverage,
    "two_ways_held": two_ways,
    "shifts": shifts,
    "scans": scans,
    "draws": draws,
    "metals": metals,
    "selection": selection,
    "detection": detection,
}

"""Tables of what compare.py measured, for docs/compare.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.shared.results import figure_path, written
from benchmarks.shared.tables import not_yet, table

SETS = ("Si", "Mo", "ethanol", "3bpa", "acac")
UNITS = {"energy": "meV/atom", "forces": "eV/A", "stress": "GPa"}
_NOT_YET = not_yet("networks compare")


def stored() -> list[tuple[str, dict[str, Any]]]:
    """Results of the sets that were measured."""
    return [(name, r) for name in SETS if (r := written(f"networks/compare_{name}")) is not None]


def of_stored(text: Callable[[list[tuple[str, dict[str, Any]]]], str]) -> Callable[[], str]:
    """A text of all stored results, or of what is to be done where there are none."""

    def told() -> str:
        found = stored()
        return text(found) if found else _NOT_YET

    return told


@of_stored
def summary(found: list[tuple[str, dict[str, Any]]]) -> str:
    """Which to use when, in words, and on what that was measured."""
    parts = []
    for name, r in found:
        parts.append(f"**{name}**")
        parts.append("\n".join(f"* {sentence}" for sentence in r["advice"]))
    return "\n\n".join(parts)


@of_stored
def errors(found: list[tuple[str, dict[str, Any]]]) -> str:
    """Errors of the fits to all training structures."""
    rows = []
    for name, r in found:
        for score in r["scores"]:
            cells = [_cell(score["values"].get(p), score["best"] == p) for p in r["potentials"]]
            label = f"{score['kind']} {score['measure'].upper()}, {UNITS[score['kind']]}"
            rows.append([name, f"{r['n_train']} / {score['n_structures']}", label, *cells, _span(score["gap"])])
    header = ["data", "train / test", "error", *found[0][1]["potentials"], "difference, 95 % range"]
    return table(header, rows)


@of_stored
def curve(found: list[tuple[str, dict[str, Any]]]) -> str:
    """Errors against the number of structures learnt."""
    rows = []
    for name, r in found:
        for point in r["curve"]:
            cells = []
            for kind in ("energy", "forces"):
                score = next((s for s in point["scores"] if (s["kind"], s["measure"]) == (kind, "mae")), None)
                values = {} if score is None else score["values"]
                cells += [_cell(values.get(p), score is not None and score["best"] == p) for p in r["potentials"]]
            cells += [_percent(point["coverage"].get(p, {}).get("forces")) for p in r["potentials"]]
            rows.append(
                [name, str(point["n_train"]), *cells, *(_number(point["fit_s"].get(p)) for p in r["potentials"])]
            )
    names = found[0][1]["potentials"]
    header = ["data", "structures", *(f"energy MAE, meV/atom, {p}" for p in names)]
    header += [*(f"force MAE, eV/A, {p}" for p in names), *(f"force labels in 90 %, {p}" for p in names)]
    picture = "\n\n![Learning curves of both backends](figures/compare.png)" * figure_path("compare").exists()
    return table([*header, *(f"fit, wall s, {p}" for p in names)], rows) + picture


@of_stored
def coverage(found: list[tuple[str, dict[str, Any]]]) -> str:
    """Share of labels inside 50 and 90 % intervals by group."""
    rows = []
    for name, r in found:
        names = r["potentials"]
        for key in dict.fromkeys((row["kind"], row["config_type"]) for p in names for row in r["metrics"][p]):
            cells = []
            for p in names:
                row = _row(r["metrics"][p], *key)
                half = None if row is None else row["coverage"]["0.5"]
                cells += [_percent(half), "-" if row is None else _covered(row)]
            count = next(row["n_structures"] for p in names if (row := _row(r["metrics"][p], *key)) is not None)
            rows.append([name, f"{key[0]}, {key[1]}", str(count), *cells])
    header = [text for p in found[0][1]["potentials"] for text in (f"in 50 %, {p}", f"in 90 % (range), {p}")]
    return table(["data", "kind and group", "structures", *header], rows)


@of_stored
def calibration(found: list[tuple[str, dict[str, Any]]]) -> str:
    """Scores of the distributions, all test structures."""
    rows = []
    keys = ("rms_z", "miscalibration_area", "crps", "nll", "sharpness", "spearman")
    for name, r in found:
        for kind in UNITS:
            for p in r["potentials"]:
                row = _row(r["metrics"][p], kind, "all")
                if row is not None:
                    rows.append([name, f"{kind}, {UNITS[kind]}", p, *(_number(row[key]) for key in keys)])
    header = ["data", "kind and unit", "potential", "rms error / std", "miscalibration area", "CRPS", "NLL", "rms std"]
    return table([*header, "rank correlation of error and std"], rows)


@of_stored
def detection(found: list[tuple[str, dict[str, Any]]]) -> str:
    """Bad forces on structures of a kind that was left out."""
    rows = []
    for name, r in found:
        for d in r["detection"]:
            for p, c in d["curves"].items():
                gate, there = c["gate"], _row(r["shifted"][d["shift"]][p], "forces", "all")
                stopped = ["-"] * 3
                if gate is not None:
                    good = gate["frames"] - gate["failures"]
                    stopped = [
                        f"{gate['threshold']:.3g}",
                        f"{gate['missed']} of {gate['failures']}",
                        f"{gate['false_alarms']} of {good}",
                    ]
                area = "-" if c["auc"] is None else f"{_cell(c['auc'], d['best'] == p)} ({_span(c['range'])})"
                share = "-" if there is None else _percent(there["coverage"]["0.9"])
                start = [f"{name} without {d['shift']}", p, f"{d['tolerance']:.2g}", _percent(c["bad"]), area, share]
                rows.append([*start, *stopped])
    header = ["data", "potential", "tolerance, eV/A", "bad, of atoms", "ROC area (95 % range)", "in 90 % there"]
    return table([*header, "gate threshold, eV/A", "bad frames missed", "good frames stopped"], rows)


@of_stored
def derived(found: list[tuple[str, dict[str, Any]]]) -> str:
    """Coverage of derived quantities."""
    rows = []
    for name, r in found:
        for p in r["potentials"]:
            of = r["derived"][p]
            for kind, c in {} if isinstance(of, str) else of.items():
                share = f"{_percent(c['inside_90'])}{_percents(c['range'])}"
                cells = [str(c["n"]), _percent(c["inside_50"]), share, _number(c["rms_z"])]
                rows.append([name, kind, p, *cells, f"{_number(c['rms_error'])} {c['unit']}".strip()])
    header = ["data", "quantity", "potential", "values", "in 50 %", "in 90 % (range)", "rms error / std", "rms error"]
    return table(header, rows)


@of_stored
def cost(found: list[tuple[str, dict[str, Any]]]) -> str:
    """Wall times, and the machine."""
    rows = []
    for name, r in found:
        for p in r["potentials"]:
            fit, answers = r["cost"][p]["fit"], r["cost"][p]["answers"]
            for k, cell in enumerate(answers):
                first = [name, p, _number(fit["wall_s"]), _number(fit["cpu_s"])] if not k else ["", "", "", ""]
                spans = [
                    f"{_number(cell[key]['median'])} ({_span([cell[key]['least'], cell[key]['largest']])})"
                    for key in ("mean", "full")
                ]
                rows.append([*first, f"{cell['formula']}", *spans])
    machine, fits = found[0][1]["machine"], [of["fit"] for _, r in found for of in r["cost"].values()]
    header = ["data", "potential", "fit, wall s", "fit, CPU s", "cell", "mean, ms/atom", "mean and error bars, ms/atom"]
    threads = " or ".join(str(n) for n in sorted({fit["threads"] for fit in fits}))
    loads = [fit["load"] for fit in fits if fit["load"] is not None]
    busy = f", load {min(loads):.1f} to {max(loads):.1f} when a fit had ended" if loads else ""
    where = f"{threads} thread(s) of a {fits[0]['cores']}-core {machine['machine']} machine"
    return f"{table(header, rows)}\n\n{where}{busy}; torch {machine['torch']}."


def _row(rows: list[dict[str, Any]], kind: str, group: str) -> dict[str, Any] | None:
    return next((row for row in rows if (row["kind"], row["config_type"]) == (kind, group)), None)


def _cell(value: float | None, best: bool) -> str:
    return f"**{_number(value)}**" if best else _number(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _percents(span: list[float] | None) -> str:
    return "" if span is None else f" ({100 * span[0]:.0f} to {100 * span[1]:.0f})"


def _covered(row: dict[str, Any]) -> str:
    return f"{_percent(row['coverage']['0.9'])}{_percents(row['coverage_range'])}"


def _span(span: list[float] | None) -> str:
    return "too few" if span is None else f"{span[0]:.2g} to {span[1]:.2g}"


SECTIONS: dict[str, Callable[[], str]] = {
    "compare_summary": summary,
    "compare_errors": errors,
    "compare_curve": curve,
    "compare_coverage": coverage,
    "compare_calibration": calibration,
    "compare_detection": detection,
    "compare_derived": derived,
    "compare_cost": cost,
}

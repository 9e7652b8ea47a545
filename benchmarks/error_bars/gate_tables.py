"""Tables of what was measured of the gate, for the texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.shared.results import written
from benchmarks.shared.tables import not_yet, table

# Systems whose runs helped to choose the numbers of kernpot.dynamics.screening.
_CHOSEN_ON = ("ethanol", "Si")
_NOT_YET = not_yet("error_bars gate")


def _percent(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def _rows(part: str) -> list[dict[str, Any]]:
    return (written("error_bars/gate") or {}).get(part, [])


def cost() -> str:
    """What gates add to a step."""
    result = _rows("cost")
    if not result:
        return _NOT_YET
    rows = []
    for r in result:
        cells = []
        for key in ("screen", "default", "full", "draws"):
            s = r["added"].get(key)
            if s is None:
                cells.append("-")
                continue
            cells.append(f"{_percent(s['median'])} ({_percent(s['min'])} to {_percent(s['max'])})")
        name = f"{r['case']}, {r['atoms']} atoms"
        rows.append(
            [
                name,
                f"{r['step_ms']['median']:.2f}",
                *cells,
                f"{r['screen_made_s']:.1f}" if r["screen_made_s"] > 0.05 else "the same screen",
            ]
        )
    header = ["system", "step without a gate, CPU ms", "screen alone adds", "default gate, quiet run, adds"]
    header += ["full check at every step adds", "full check by draws at every step adds", "making the screen, CPU s"]
    lead = (
        f"Models of {result[0]['n_inducing']} inducing environments; median of five turns (range). The default "
        "gate's share holds a full check in every hundred looks, not the four of its first hundred."
    )
    return "\n\n".join([lead, table(header, rows)])


def screening() -> str:
    """What the screen let through, and how many full checks it asked for."""
    result = _rows("screening")
    if not result:
        return _NOT_YET
    rows = []
    for r in result:
        low, high = r["kelvin"]
        for kind, run in (("quiet", f"{low} K"), ("heated", f"{low} to {high} K")):
            gates = r[kind]
            missed = sum(g["missed"] for g in gates)
            worst = f" (at most {max(g['worst_missed'] for g in gates):.2f} times the threshold)" if missed else ""
            name = f"{r['case']}{'' if r['case'].startswith(_CHOSEN_ON) else ' *'}, {run}"
            row = [name, f"{r['usual']:.3f}", str(gates[0]["looks"]), str(sum(g["above"] for g in gates))]
            rows.append([*row, f"{missed}{worst}", *(_percent(g["checked_of_quiet"]) for g in gates)])
    header = ["potential and run", "usual std, eV/A", "steps", "looks above a threshold", "of these let through"]
    header += [f"checked in full at {t:g} times the usual std" for t in result[0]["times"]]
    return table(header, rows)


def detection() -> str:
    """Missed failures and false alarms."""
    result = _rows("detection")
    if not result:
        return _NOT_YET
    rows = []
    for r in result:
        area = "-" if r["curve"] is None else f"{r['curve']['auc']:.2f}"
        rows.append([f"**{r['case']}**", f"{r['tolerance']:.2f}", f"{r['threshold']:.3f}", *_rates(r), area])
        rows += [[kind, "", "", *_rates(k), ""] for kind, k in r["kinds"].items()]
    header = ["frames", "tolerance, eV/A", "threshold, eV/A", "frames", "failures", "missed", "missed, of failures"]
    header += ["failures, of frames let through", "false alarms, of good frames", "ROC area"]
    fixed = [[r["case"], *_rates(r["default"])] for r in result]
    plain = ["frames at `force_std=0.15`", *header[3:-1]]
    picture = (
        "Curves are for all thresholds, dots for those of the tolerance.\n\n![ROC curves of the gate](figures/gate.png)"
    )
    return "\n\n".join([table(header, rows), "The same with the default threshold:", table(plain, fixed), picture])


def _rates(r: dict[str, Any]) -> list[str]:
    found = [str(r["frames"]), str(r["failures"]), str(r["missed"])]
    return found + [_percent(r[key], 1) for key in ("missed_of_failures", "failures_of_passed", "false_alarms_of_good")]


SECTIONS: dict[str, Callable[[], str]] = {
    "gate_cost": cost,
    "gate_screening": screening,
    "gate_detection": detection,
}

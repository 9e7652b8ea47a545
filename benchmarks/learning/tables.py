"""Tables of what was measured of on-the-fly learning, for docs/learning.md."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.shared.results import written
from benchmarks.shared.tables import not_yet, table


def spread(values: list[float | None], digits: int = 0) -> str:
    """Mean, and from the smallest to the largest; how many there are not."""
    found = [v for v in values if v is not None]
    if not found:
        return "not reached"
    text = f"{np.mean(found):.{digits}f} ({min(found):.{digits}f} to {max(found):.{digits}f})"
    return text if len(found) == len(values) else f"{text}; not reached by {len(values) - len(found)}"


def ethanol() -> str:
    """Labels needed."""
    r = written("learning/on_the_fly_ethanol")
    if r is None or not r["summary"]:
        return not_yet("learning on_the_fly_ethanol ethanol_run")
    rows = []
    for row in r["summary"]:
        more = "-" if row["strategy"] == "on the fly" else spread(row["ratio"], 2)
        rows.append([row["strategy"], f"{row['temperature']} K", spread(row["needed"]), more])
    seeds = len(next(iter(r["curves"].values())))
    lead = (
        f"Labels for a force RMS error of {1e3 * r['target_eV_A']:.0f} meV/A on the trajectory of GFN2-xTB: mean of "
        f"{seeds} seeds (smallest to largest), and how many times those of the on-the-fly run with the same seed:"
    )
    calls = (
        f"A trajectory that frames are drawn from is {r['calls_of_a_trajectory']} calls of the oracle, which the "
        "table does not count; the on-the-fly learner, and random displacements, ask for nothing but their labels."
    )
    header = ["way to choose", "tested at", "labels needed", "times those on the fly"]
    return "\n\n".join([lead, table(header, rows), calls])


def silicon() -> str:
    """What DFT says of the final potential."""
    r = written("learning/on_the_fly_silicon")
    if r is None:
        return not_yet("learning on_the_fly_silicon silicon_run")
    rows = []
    for temperature in sorted({x["temperature"] for x in r["fresh"]}):
        of = [x for x in r["fresh"] if x["temperature"] == temperature]
        rows.append(
            [
                f"{temperature:.0f} K",
                str(len(of)),
                f"{1e3 * np.sqrt(np.mean([x['rms_force_error'] ** 2 for x in of])):.0f}",
                f"{1e3 * np.sqrt(np.mean([x['rms_force'] ** 2 for x in of])):.0f}",
                f"{max(x['max_force_error'] for x in of):.2f}",
                f"{max(x['max_force_std'] for x in of):.2f}",
                str(sum(x["flagged"] for x in of)),
                f"{1e3 * np.mean([abs(x['energy_error_per_atom']) for x in of]):.1f}",
                f"{100 * np.mean([x['inside_90'] for x in of]):.0f} %",
            ]
        )
    header = ["temperature", "fresh frames", "force RMS error, meV/A", "RMS force, meV/A", "largest error, eV/A"]
    header += ["largest std, eV/A", "std above the gate's", "energy MAE, meV/atom", "90 % force intervals hold"]
    kinds = [x["purpose"] for x in r["labels"]]
    audits = [x for x in r["labels"] if x["purpose"] == "audit" and x["max_force_error"] is not None]
    seconds = np.median([x["seconds"] for x in r["labels"]])
    lead = (
        f"{kinds.count('bootstrap')} first structures and {kinds.count('query')} queries were labelled to learn from, "
        f"{kinds.count('audit')} structures for the audit alone; the gate ({r['threshold_eV_A']} eV/A) fired "
        f"{len(r['gate_fired'])} times. A call of pw.x took {seconds:.1f} s (median). "
        f"The run ended: {r['outcome']['reason']}."
    )
    audited = "No structure of the audit was met."
    if audits:
        inside, largest = np.mean([x["inside_90"] for x in audits]), max(x["max_force_error"] for x in audits)
        audited = (
            f"Audit on the way: 90 % intervals held {100 * inside:.0f} % of the force components of {len(audits)} "
            f"structures; the largest error was {largest:.2f} eV/A."
        )
    fresh = "The final potential against DFT on frames of runs of its own:"
    return "\n\n".join([lead, fresh, table(header, rows), audited])


def dft() -> str:
    """Convergence of the DFT settings."""
    r = written("learning/silicon_dft")
    if r is None:
        return not_yet("learning on_the_fly_silicon silicon_run --converge")
    rows = [
        [
            f"{x['k']} x {x['k']} x {x['k']}",
            f"{x['cutoff_Ry']:.0f}",
            f"{1e3 * x['rms_change_eV_A']:.1f}",
            f"{x['stress_change_GPa']:.2f}",
            f"{x['seconds']:.1f}",
        ]
        for x in r["rows"]
    ]
    rms = 1e3 * r["rows"][0]["rms_force_eV_A"]
    lead = f"RMS force of the structure: {rms:.0f} meV/A. Changes against the first row:"
    header = ["k-points", "cutoff, Ry", "RMS change of forces, meV/A", "largest change of stress, GPa", "wall s"]
    return f"{lead}\n\n{table(header, rows)}"


def long_run() -> str:
    """Failures and flags."""
    r = written("learning/long_run")
    if r is None:
        return not_yet("learning long_run ethanol_run")
    rows = [
        [name, *(str(of[k]) for k in ("frames", "failures", "flagged", "undetected", "false_alarms"))]
        for name, of in (("met at random", r["audited"]), ("where the gate fired", r["where_it_fired"]))
    ]
    lead = (
        f"{r['ps']:.0f} ps at {r['temperature_K']:.0f} K, tolerance {r['tolerance_eV_A']} eV/A; threshold of the gate "
        f"{r['threshold_eV_A']:.3f} eV/A; it fired {r['fired']} times, with {r['full_checks']} full checks. Of the "
        f"structures met at random half have a largest error below {r['median_max_error']:.2f} eV/A, all below "
        f"{r['largest_error']:.2f} eV/A."
    )
    header = ["structures", "labelled", "failures", "flagged", "failures not flagged", "flagged, no failure"]
    return f"{lead}\n\n{table(header, rows)}"


def overhead() -> str:
    """Time of learning per label."""
    rows = []
    for name, title in (("on_the_fly_ethanol", "ethanol"), ("on_the_fly_silicon", "silicon, 8 atoms")):
        r = written(f"learning/{name}")
        if r is None:
            continue
        found = r["learning"] if isinstance(r["learning"], list) else [r["learning"]]
        if not found:
            continue
        rows.append(
            [
                title,
                spread([x["labels"] for x in found]),
                spread([x["n_inducing"] for x in found]),
                spread([x["fits"] for x in found]),
                spread([x["seconds_per_label"] for x in found], 2),
                f"{100 * np.mean([x['share'] for x in found]):.0f} %",
            ]
        )
    if not rows:
        return "Not measured yet: the two benchmarks above measure it."
    header = ["run", "labels", "largest n_inducing", "fits", "learning, wall s per label", "of a 5 s oracle"]
    return table(header, rows)


SECTIONS: dict[str, Callable[[], str]] = {
    "otf_ethanol": ethanol,
    "otf_silicon": silicon,
    "otf_dft": dft,
    "otf_long": long_run,
    "otf_overhead": overhead,
}

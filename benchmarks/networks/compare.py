"""Both backends on the same published splits: errors, learning curves, coverage, detection, derived quantities, cost.

    python -m benchmarks networks compare                      # Si Mo ethanol 3bpa acac; hours, mostly for the networks
    python -m benchmarks networks compare Si --limit 40        # a look at few structures; stores nothing
    python -m benchmarks networks compare --draw               # docs/figures/compare.png anew from what is stored

Both potentials at their default settings (docs/compare.md says what those rest on). Learnt and asked about are the
published parts; subsets of the learning curve are random and nested; for the ROC curves every kind of structure in
`LEFT_OUT` (else the quarter of highest energy) is left out of a fit of its own. Finished fits are kept in --keep, so
that an interrupted run goes on.
Writes results/compare_<set>.json and docs/figures/compare.png.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from ase import Atoms
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.shared import smoke
from benchmarks.shared.command_line import Parser, known_ones
from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.results import figure_path, write_result, written
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import Clock
from kernpot.cli.compare import backends
from kernpot.comparison import ComparisonResult, Shift, Split, default_shift, run, summarise, without_group
from kernpot.report.comparison import advice, comparison_findings
from kernpot.report.comparison.plots import few_ticks
from kernpot.report.panels import COLOURS, MARKERS, STYLE

SETS = ("Si", "Mo", "ethanol", "3bpa", "acac")
LEFT_OUT = {"Si": ("AIMD-NVT", "Vacancy", "Surface"), "Mo": ("AIMD-NVT", "Vacancy", "Surface")}
SEED = 0
# Parameters of potentials other than the defaults, by name.
CHANGES: dict[str, dict[str, Any]] = {}
SMOKE = Smoke(
    {"CHANGES": {"SparseGPPotential": {"n_inducing": 20}, "NNPEnsemble": {"n_members": 2, "max_epochs": 3}}}
    | {"LEFT_OUT": {"Si": ("AIMD-NVT",)}},
    ("Si",),
)
# Of each row of metrics; all others are in the page that `kernpot compare` writes.
KEPT = ("kind", "config_type", "n_structures", "mae", "rmse", "coverage", "coverage_range", "rms_z", "sharpness")
KEPT = (*KEPT, "miscalibration_area", "crps", "nll", "spearman", "spearman_oracle")


def spread(frames: list[Atoms], n: int | None) -> list[Atoms]:
    """At most ``n`` of those with several atoms, evenly, and all isolated atoms."""
    several = [a for a in frames if len(a) > 1]
    alone = [a for a in frames if len(a) == 1]
    return several[:: 1 if n is None else max(1, -(-len(several) // n))] + alone


def split_of(name: str, limit: int | None) -> Split:
    """The published split, or a part of it."""
    train, test = (spread(part(), limit) for part in (DATASETS[name].train, DATASETS[name].test))
    test = [a for a in test if len(a) > 1]
    present = {a.info.get("config_type") for a in train}
    groups = [group for group in LEFT_OUT.get(name, ()) if group in present]
    shifts: list[Shift | None] = [without_group(train, test, group) for group in groups]
    return Split(train, test, [s for s in shifts or [default_shift(train, test)] if s is not None])


def measure(name: str, limit: int | None, keep: Path, potentials: dict[str, Any]) -> dict[str, Any]:
    """Fit and ask, and what is kept of the answers."""
    split = split_of(name, limit)

    def told(stage: str, done: int, total: int) -> None:
        if stage == "fits":
            print(f"{name}: {done} of {total} fits", flush=True)

    result = summarise(run(potentials, split, keep / name, seed=SEED, progress=told))
    for finding in [*advice(result), *comparison_findings(result)]:
        print(f"  {finding.text}", flush=True)
    return shortened(result)


def shortened(result: ComparisonResult) -> dict[str, Any]:
    """What texts and figures need of a result."""
    data = result.to_dict()
    del data["reliability"]
    for rows in [*data["metrics"].values(), *(rows for of in data["shifted"].values() for rows in of.values())]:
        rows[:] = [{key: row[key] for key in KEPT} for row in rows]
    for detection in data["detection"]:
        for curve in detection["curves"].values():
            curve["false_alarms"], curve["found"] = curve["false_alarms"][::5], curve["found"][::5]
    data["advice"] = [finding.text for finding in advice(result)]
    return rounded(data)


def rounded(value: Any) -> Any:
    """Numbers with five digits."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def draw() -> None:
    """Learning curves of all stored sets: energies above, forces below."""
    stored = [(name, r) for name in SETS if (r := written(f"networks/compare_{name}")) is not None]
    if not stored:
        raise SystemExit("no comparison is stored that could be drawn; run python -m benchmarks networks compare first")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.7 * len(stored), 5.2), layout="constrained")
        grid = figure.subplots(2, len(stored), squeeze=False)
        for column, (name, r) in enumerate(stored):
            sizes = [point["n_train"] for point in r["curve"]]
            for axes, kind, unit in zip(grid[:, column], ("energy", "forces"), ("meV/atom", "eV/Å"), strict=True):
                for k, potential in enumerate(r["potentials"]):
                    values = [error_of(point, kind, potential) for point in r["curve"]]
                    look = {"color": COLOURS[k], "marker": MARKERS[k], "label": potential, "linewidth": 1.4}
                    axes.plot(sizes, values, markersize=4, **look)
                axes.set(xscale="log", yscale="log", title=name, ylabel=f"{kind} MAE ({unit})")
                axes.set_xticks(sizes, [str(n) for n in sizes], rotation=60)
                axes.xaxis.set_minor_locator(NullLocator())
                few_ticks(axes.yaxis)
            grid[1, column].set_xlabel("training structures")
        grid[0, 0].legend()
        figure.savefig(figure_path("compare"), dpi=120, metadata={"Software": None})


def error_of(point: dict[str, Any], kind: str, potential: str) -> float:
    """Mean absolute error at one point of a learning curve; NaN where there is none."""
    found = [s for s in point["scores"] if (s["kind"], s["measure"]) == (kind, "mae")]
    return found[0]["values"].get(potential, float("nan")) if found else float("nan")


def main(arguments: Sequence[str]) -> None:
    """Measure the named sets."""
    parser = Parser("networks compare", __doc__)
    parser.add_argument("sets", nargs="*", default=list(SETS), help=f"some of {', '.join(SETS)}; all when not given")
    parser.add_argument("--limit", type=int, help="so many training and test structures at most; stores nothing")
    parser.add_argument(
        "--keep", type=Path, default=(smoke.folder() or Path(tempfile.gettempdir())) / "kernpot-compare"
    )
    parser.add_argument("--draw", action="store_true", help="only draw the figure")
    options = parser.parse_args(arguments)
    known_ones(SETS, options.sets)
    for name in [] if options.draw else options.sets:
        clock = Clock()
        potentials = backends(SEED, None)
        for potential, parameters in CHANGES.items():
            potentials[potential].set_params(**parameters)
        found = measure(name, options.limit, options.keep, potentials)
        if options.limit is None:
            write_result(f"networks/compare_{name}", {**found, "seed": SEED, **clock.read()})
    if options.draw or options.limit is None:
        draw()

"""How many quantum calculations does a potential of ethanol need? On-the-fly learning against random choice.

    python -m benchmarks learning on_the_fly_ethanol ethanol_run             # five seeds; the folder keeps all
    python -m benchmarks learning on_the_fly_ethanol ethanol_run --seeds 1   # a look
    python -m benchmarks learning on_the_fly_ethanol ethanol_run --choose    # how the settings were found

From one relaxed geometry and GFN2-xTB (package tblite) as oracle. All ways to choose the structures to label are
judged alike: after so many labels the same potential is fitted to those labels alone, and its forces are compared with
GFN2-xTB on two trajectories of 200 frames at 300 K and 500 K that GFN2-xTB itself has driven, with seeds of their own.

on the fly
    Labels that `OnTheFlyLearner` asked for, in the order of asking, its first random displacements included. Nothing
    else was asked of the oracle.
random, every n-th
    Frames of a trajectory at 500 K that the oracle has driven: at random, or every 50 fs from its start. Somebody
    has paid an oracle call for each of its steps; the labels counted here are those that were learnt.
visited
    Frames of the on-the-fly learner's own trajectory, at random.
displaced
    Random displacements of the one geometry: a random choice that costs no calls but the labels.

Writes results/on_the_fly_ethanol.json and docs/figures/learning_ethanol.png.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from ase import Atoms
from ase.io import read
from matplotlib.figure import Figure

from benchmarks.learning.ethanol import (
    EQUILIBRATION,
    SPACING,
    TIMESTEP,
    force_errors,
    labelled,
    oracle,
    potential,
    start,
    trajectory,
)
from benchmarks.learning.records import learning_time, learnt
from benchmarks.shared.command_line import Parser
from benchmarks.shared.results import figure_path, write_result
from benchmarks.shared.smoke import Smoke
from kernpot.dynamics import Bootstrap, OnTheFlyLearner, Schedule, Stage, UncertaintyGate
from kernpot.report.panels import COLOURS, MARKERS, STYLE

TARGET = 0.05  # eV/A
TEMPERATURES = (300, 500)
# Labels at which potentials are fitted: 1.3 times as many each time, the learner's own growth between two fits.
INDUCING = 1000  # of all potentials that are judged
COUNTS = (10, 13, 17, 22, 29, 37, 48, 63)
BOOTSTRAP = Bootstrap(number=5, rattle=0.05)
TEMPERATURE, THRESHOLD = 500.0, 0.1  # of the learner: K, eV/A
LEARNER_INDUCING = 600  # while it learns; all labels are judged with the potential of ethanol.py
MAX_LABELS = 50
N_FRAMES = 200
STEPS = 50_000  # of the learner's dynamics, at most
RECORD_EVERY = 50  # steps between frames of the learner's trajectory
SMOKE = Smoke(
    {"COUNTS": (5, 10), "N_FRAMES": 10, "MAX_LABELS": 11, "STEPS": 20, "RECORD_EVERY": 2, "TEMPERATURES": (300,)}
    | {"BOOTSTRAP": Bootstrap(number=10, rattle=0.05), "LEARNER_INDUCING": 100, "INDUCING": 20, "THRESHOLD": 100.0},
    ("{folder}/runs", "--seeds", "1"),
)
TEST_SEED, CHOICE_SEED, POOL_SEED = 1100, 2000, 3000  # of the oracle's trajectories: no two have one in common


def directory_of(folder: Path, seed: int) -> Path:
    """Of the learner's run."""
    return folder / f"learner_{seed}"


def on_the_fly(folder: Path, seed: int) -> list[Atoms]:
    """Labels the learner asks for; a run that is there already goes on, or is finished."""
    outcome = OnTheFlyLearner(
        potential(seed, LEARNER_INDUCING),
        oracle(),
        Schedule([Stage("langevin", STEPS, TEMPERATURE, timestep=TIMESTEP, friction=10.0)]),
        lambda fitted: UncertaintyGate(fitted, force_std=THRESHOLD, every=2),
        start(),
        directory_of(folder, seed),
        bootstrap=BOOTSTRAP,
        record_every=RECORD_EVERY,
        max_labels=MAX_LABELS,
        random_state=seed,
    ).run()
    if outcome.reason == "interrupted":
        raise SystemExit(outcome.message)
    return learnt(directory_of(folder, seed))


def random_frames(folder: Path, seed: int) -> list[Atoms]:
    """Frames of the oracle's own trajectory at random."""
    frames = trajectory(folder, 500, POOL_SEED + seed, N_FRAMES)
    return [frames[i] for i in np.random.default_rng(seed).permutation(len(frames))]


def every_nth(folder: Path, seed: int) -> list[Atoms]:
    """Frames of the oracle's own trajectory in their order."""
    return trajectory(folder, 500, POOL_SEED + seed, N_FRAMES)


def visited(folder: Path, seed: int) -> list[Atoms]:
    """Frames of the learner's trajectory at random, labelled afterwards."""
    if not (directory_of(folder, seed) / "model.kernpot").exists():
        on_the_fly(folder, seed)
    frames = [a for path in sorted(directory_of(folder, seed).glob("trajectory_*.xyz")) for a in read(path, ":")]
    chosen = np.random.default_rng(seed).permutation(len(frames))[:MAX_LABELS]
    return [labelled(Atoms(frames[i].symbols, frames[i].positions)) for i in chosen]


def displaced(folder: Path, seed: int) -> list[Atoms]:
    """Random displacements of the start, as large as those that the learner begins with."""
    del folder
    frames = Bootstrap(MAX_LABELS, BOOTSTRAP.rattle).frames([start()], np.random.default_rng(seed))
    order = np.random.default_rng(seed).permutation(len(frames))
    return [labelled(frames[i]) for i in order]


STRATEGIES: dict[str, Callable[[Path, int], list[Atoms]]] = {
    "on the fly": on_the_fly,
    "random": random_frames,
    "every n-th": every_nth,
    "visited": visited,
    "displaced": displaced,
}


def curve(strategy: str, seed: int, folder: Path, tests: dict[int, list[Atoms]]) -> dict[str, Any]:
    """Test errors against the number of labels, once; then from the folder.

    Returns
    -------
    dict
        ``labels``, and ``rmse`` and ``mae`` (eV/A) per temperature.
    """
    path = folder / f"curve_{strategy.replace(' ', '_')}_{seed}.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    frames = STRATEGIES[strategy](folder, seed)
    out: dict[str, Any] = {"labels": [], "rmse": {str(t): [] for t in tests}, "mae": {str(t): [] for t in tests}}
    for n in [n for n in COUNTS if n <= len(frames)]:
        gp = potential(seed, INDUCING).fit(frames[:n])
        out["labels"].append(n)
        for t, test in tests.items():
            errors = force_errors(gp, test)
            out["rmse"][str(t)].append(float(np.sqrt(np.mean(errors**2))))
            out["mae"][str(t)].append(float(np.abs(errors).mean()))
        rmse = {t: f"{1e3 * out['rmse'][str(t)][-1]:.0f}" for t in tests}
        print(f"{strategy}, seed {seed}: {n} labels, force RMSE {rmse} meV/A", flush=True)
        if all(out["rmse"][str(t)][-1] < TARGET for t in tests):
            break
    path.write_text(json.dumps(out))
    return out


def labels_needed(labels: list[int], errors: list[float]) -> float | None:
    """Where a curve falls below the target for good, interpolated between logarithms; None where it does not."""
    above = [k for k, e in enumerate(errors) if e > TARGET]
    last = above[-1] if above else -1
    if last < 0:
        return float(labels[0])
    if last + 1 == len(errors):
        return None
    x, y = np.log(labels[last : last + 2]), np.log(errors[last : last + 2])
    return float(np.exp(x[0] + (np.log(TARGET) - y[0]) * (x[1] - x[0]) / (y[1] - y[0])))


def summary(curves: dict[str, dict[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Labels needed per way to choose and temperature, and how many times those of the learner with the same seed."""
    rows = []
    for strategy, of in curves.items():
        for t in map(str, TEMPERATURES):
            needed = {seed: labels_needed(c["labels"], c["rmse"][t]) for seed, c in of.items()}
            own = {s: labels_needed(c["labels"], c["rmse"][t]) for s, c in curves["on the fly"].items()}
            most = max(c["labels"][-1] for c in of.values())
            ratios = [n / own[s] for s, n in needed.items() if n is not None and own[s] is not None]
            rows.append(
                {"strategy": strategy, "temperature": int(t), "needed": list(needed.values()), "ratio": ratios}
                | {"largest_number_of_labels": most}
            )
    return rows


def plot(curves: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Mean over seeds, and from the best to the worst."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        for axes, t in zip(figure.subplots(1, 2, sharey=True), TEMPERATURES, strict=False):
            for k, (strategy, of) in enumerate(curves.items()):
                shared = min(len(c["labels"]) for c in of.values())
                labels = next(iter(of.values()))["labels"][:shared]
                errors = 1e3 * np.array([c["rmse"][str(t)][:shared] for c in of.values()])
                axes.fill_between(labels, errors.min(0), errors.max(0), color=COLOURS[k], alpha=0.12, linewidth=0)
                axes.plot(labels, errors.mean(0), color=COLOURS[k], marker=MARKERS[k], markersize=4, label=strategy)
            axes.axhline(1e3 * TARGET, color="#333333", linewidth=0.9, linestyle="--")
            axes.set(title=f"GFN2-xTB trajectory at {t} K", xlabel="labels", xscale="log", yscale="log")
            axes.set_xticks(COUNTS[::2], labels=[str(n) for n in COUNTS[::2]])
            axes.set_yticks([20, 50, 100, 200, 500], labels=["20", "50", "100", "200", "500"])
            axes.minorticks_off()
        figure.axes[0].set_ylabel("force RMS error, meV/Å")
        figure.axes[0].legend()
        figure.savefig(figure_path("learning_ethanol"), dpi=130)


def main(arguments: Sequence[str]) -> None:
    """Measure, or take from the folder what was measured; store; plot."""
    parser = Parser("learning on_the_fly_ethanol", __doc__)
    parser.add_argument("folder", type=Path, help="where runs and trajectories are kept")
    parser.add_argument("--seeds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--choose", action="store_true", help="compare settings on trajectories of their own, and stop")
    args = parser.parse_args(arguments)
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.choose:
        choose(args.folder)
        return
    tests = {t: trajectory(args.folder, t, TEST_SEED, N_FRAMES) for t in TEMPERATURES}
    curves = {s: {str(k): curve(s, k, args.folder, tests) for k in range(args.seeds)} for s in args.strategies}
    rows = summary(curves) if "on the fly" in curves else []
    for row in rows:
        print(row)
    learning = [learning_time(directory_of(args.folder, k)) for k in range(args.seeds)] if rows else []
    settings = {"temperature_K": TEMPERATURE, "threshold_eV_A": THRESHOLD, "n_inducing": LEARNER_INDUCING}
    result = {"target_eV_A": TARGET, "settings": settings, "curves": curves, "summary": rows, "learning": learning}
    calls = EQUILIBRATION + N_FRAMES * SPACING  # of the oracle, to drive one trajectory
    write_result("learning/on_the_fly_ethanol", result | {"calls_of_a_trajectory": calls})
    plot(curves)


def choose(folder: Path) -> None:
    """Errors of candidate descriptors at 30 and 60 random labels, on trajectories that the comparison never sees."""
    pool = trajectory(folder, 500, CHOICE_SEED, N_FRAMES)
    validation = {t: trajectory(folder, t, CHOICE_SEED + 1, N_FRAMES) for t in TEMPERATURES}
    for r_cut in (3.5, 4.0, 4.5):
        for sigma in (0.3, 0.4):
            for zeta in (1, 2):
                told = []
                for n in (30, 60):
                    gp = potential(0, r_cut=r_cut, sigma=sigma, zeta=zeta).fit(pool[:n])
                    told += [f"{1e3 * np.sqrt(np.mean(force_errors(gp, v) ** 2)):.0f}" for v in validation.values()]
                print(f"cutoff {r_cut} A, sigma {sigma} A, zeta {zeta}: {told} meV/A", flush=True)

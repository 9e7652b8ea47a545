"""Learning curves: structures chosen by `SparseGPPotential.select` against structures drawn at random.

    python -m benchmarks learning selection          # or with the name of one set, to measure it anew

Pools are the published training parts of Si and Mo. For every seed each strategy orders the pool without looking at
labels; potentials are fitted to the first eighth, quarter and half of each order, and to the whole pool, with
hyperparameters learnt from the same structures. Everything is fixed beforehand: the setting is that with the lowest
score on structures left out of the training part (accuracy/results/settings_<set>.json) among those with 1000 inducing
environments in 128 directions; the published test part is opened to draw the curves. Writes results/selection.json and
docs/figures/selection.png.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import matplotlib as mpl
import numpy as np
from ase import Atoms
from matplotlib.figure import Figure

from benchmarks.shared.command_line import some_of
from benchmarks.shared.datasets import DATASETS, Setting, species_of
from benchmarks.shared.results import figure_path, read_result, write_result, written
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import Clock
from kernpot import SparseGPPotential
from kernpot.report.panels import COLOURS, MARKERS, STYLE

SETS = ("Si", "Mo")
SEEDS = range(5)
PARTS = (8, 4, 2)
# Part drawn at random; names as in the tables.
STRATEGIES = {"random": 1.0, "D-optimal": 0.0, "half of each": 0.5}
# Enough to tell structures apart, and cheaper than those of the fit.
N_INDUCING = 400
SMOKE = Smoke({"SEEDS": range(1), "PARTS": (4, 2)}, ("Si",))


def setting_of(name: str) -> Setting:
    """The best of the cheap settings, by errors on structures left out of the training part."""
    rows = read_result(f"accuracy/settings_{name}")["candidates"]
    cheap = [r for r in rows if (r["setting"]["n_inducing"], r["setting"].get("n_components")) == (1000, 128)]
    return Setting.of(min(cheap, key=lambda r: float(r["score"]))["setting"])


def errors(gp: SparseGPPotential, frames: list[Atoms]) -> dict[str, float]:
    """Mean absolute errors: eV/A, eV/atom, and eV/A of each config_type."""
    found = [gp.mean(a) for a in frames]
    force = [np.abs(p.forces - a.get_forces()).ravel() for p, a in zip(found, frames, strict=True)]
    energy = [abs(p.energy - a.get_potential_energy()) / len(a) for p, a in zip(found, frames, strict=True)]
    out = {"forces": float(np.concatenate(force).mean()), "energy": float(np.mean(energy))}
    for group in sorted({str(a.info["config_type"]) for a in frames}):
        own = [f for f, a in zip(force, frames, strict=True) if a.info["config_type"] == group]
        out[f"forces[{group}]"] = float(np.concatenate(own).mean())
    return out


def order_of(pool: list[Atoms], setting: Setting, part: float, seed: int, k: int) -> list[int]:
    """The first ``k`` choices of a strategy."""
    if part == 1.0:
        return [int(i) for i in np.random.RandomState(seed).permutation(len(pool))[:k]]
    chooser = setting.estimator(species_of(pool)).set_params(random_state=seed, n_inducing=N_INDUCING)
    return [int(i) for i in chooser.select(pool, k, random_part=part).indices]


def measure(name: str) -> dict[str, Any]:
    """All curves of one data set."""
    data, setting = DATASETS[name], setting_of(name)
    pool, test = data.train(), data.test()
    species = species_of(pool)

    def row(order: list[int], strategy: str, seed: int) -> dict[str, Any]:
        clock = Clock()
        chosen = [pool[i] for i in order]
        gp = setting.estimator(species).set_params(random_state=seed).fit(chosen)
        types = dict(Counter(str(a.info["config_type"]) for a in chosen))
        found = {"strategy": strategy, "seed": seed, "structures": len(order), "atoms": sum(map(len, chosen))}
        found |= {"config_types": types, "test_mae": errors(gp, test), **clock.read()}
        print(name, strategy, seed, len(order), f"{found['test_mae']['forces']:.4f} eV/A", flush=True)
        return found

    rows = []
    choosing = []
    for seed in SEEDS:
        for strategy, part in STRATEGIES.items():
            clock = Clock()
            order = order_of(pool, setting, part, seed, len(pool) // min(PARTS))
            if part < 1:
                choosing.append(clock.read()["cpu_s"])
            rows += [row(order[: len(pool) // p], strategy, seed) for p in PARTS]
    rows.append(row(list(range(len(pool))), "all", 0))
    return {
        "setting": asdict(setting),
        "pool": len(pool),
        "published_forces": data.published["GAP"]["forces"],
        "rows": rows,
        "choosing_cpu_s": choosing,
    }


def plot(result: dict[str, Any]) -> None:
    """Mean and range over seeds."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.2 * len(result), 3.4), layout="constrained")
        for axes, (name, r) in zip(np.ravel([figure.subplots(1, len(result))]), result.items(), strict=True):
            for k, strategy in enumerate(STRATEGIES):
                sizes = sorted({x["structures"] for x in r["rows"] if x["strategy"] == strategy})
                curves = np.array([[x["test_mae"]["forces"] for x in of(r, strategy, n)] for n in sizes])
                axes.fill_between(sizes, curves.min(1), curves.max(1), color=COLOURS[k], alpha=0.15, linewidth=0)
                axes.plot(sizes, curves.mean(1), color=COLOURS[k], marker=MARKERS[k], label=strategy)
            whole = of(r, "all", r["pool"])[0]["test_mae"]["forces"]
            axes.plot([r["pool"]], [whole], "*", color="black", label="whole pool")
            axes.axhline(r["published_forces"], color="#333333", linewidth=0.9, linestyle="--", label="published GAP")
            axes.set(title=name, xlabel="training structures", ylabel="test force MAE, eV/Å", xscale="log")
            axes.set_xticks([*sizes, r["pool"]], labels=[*map(str, sizes), str(r["pool"])])
            axes.minorticks_off()
        axes.legend()
        figure.savefig(figure_path("selection"), dpi=130)


def of(result: dict[str, Any], strategy: str, structures: int) -> list[dict[str, Any]]:
    """Rows of a strategy at one size, one per seed."""
    return [x for x in result["rows"] if (x["strategy"], x["structures"]) == (strategy, structures)]


def main(arguments: Sequence[str]) -> None:
    """Measure and store; sets that are not named keep what is stored."""
    names = some_of("learning selection", __doc__, SETS, arguments)
    measured = {name: measure(name) for name in names}
    stored = (written("learning/selection") or {"sets": {}})["sets"]
    result = {name: (stored | measured)[name] for name in SETS if name in stored | measured}
    write_result("learning/selection", {"sets": result})
    plot(result)

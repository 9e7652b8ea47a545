"""Where the time goes, stage by stage, beside the least time that the machine could take for the operations counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
from ase import Atoms

from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.machine import rates
from benchmarks.shared.systems import SYSTEMS, silicon
from benchmarks.speed.counts import Cost, Sizes, fit_costs, mean_costs, std_costs
from benchmarks.speed.models import Models
from kernpot import SparseGPPotential
from kernpot.descriptors.compiled.environments import CompiledEnvironments
from kernpot.descriptors.soap import SOAPFeatures
from kernpot.functionals import moved, rows
from kernpot.gp.rows.compress import compress
from kernpot.gp.rows.whitening import Whitening
from kernpot.kernels.forms import PowerSums, QuadraticForms
from kernpot.regression.factor import LabelFactor
from kernpot.regression.posterior import Posterior
from kernpot.structures.labels import label_structures
from kernpot.surfaces import potentials

Hooks = dict[str, list[tuple[Any, str]]]

_MEAN: Hooks = {
    "neighbours": [(potentials, "find_pairs")],
    "expansion": [(CompiledEnvironments, "__init__")],
    "power spectrum": [(CompiledEnvironments, "features")],
    "kernel": [(QuadraticForms, "__call__"), (PowerSums, "__call__")],
    "pull-back": [(CompiledEnvironments, "pull")],
}
_ROWS: Hooks = {
    "tangents": [(moved.Moved, "__init__"), (CompiledEnvironments, "push")],
    "rows": [(rows, "_add_force_rows")],
    "prior": [(rows, "force_prior")],
    "whitening": [(Whitening, "__call__")],
}
_STD: Hooks = _ROWS | {"posterior": [(Posterior, "variance")]}
_FIT: Hooks = _ROWS | {"QR": [(LabelFactor, "add"), (LabelFactor, "as_tensors")]}
HOOKS = {"mean": _MEAN, "std": _STD, "fit": _FIT}
# Structures folded into a factor to time a fit's stages.
_STRUCTURES = 40


class Stopwatch:
    """CPU time spent in functions, less what other watched functions inside them took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = [0.0]

    def watch(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, watched."""

        def timed(*arguments: Any, **keywords: Any) -> Any:
            self._inner.append(0.0)
            start = time.process_time()
            try:
                return function(*arguments, **keywords)
            finally:
                spent = time.process_time() - start
                self.seconds[stage] = self.seconds.get(stage, 0.0) + spent - self._inner.pop()
                self._inner[-1] += spent

        return timed


@contextmanager
def watching(hooks: Hooks) -> Iterator[Stopwatch]:
    """Replace functions by watched ones for a while."""
    watch = Stopwatch()
    places = [(stage, _home(owner, name), name) for stage, hooked in hooks.items() for owner, name in hooked]
    kept = [(stage, owner, name, vars(owner)[name]) for stage, owner, name in places]
    try:
        for stage, owner, name, function in kept:
            setattr(owner, name, watch.watch(stage, function))
        yield watch
    finally:
        for _, owner, name, function in kept:
            setattr(owner, name, function)


def _home(owner: Any, name: str) -> Any:
    """The class that defines an attribute, or the module itself."""
    return next(c for c in owner.__mro__ if name in vars(c)) if isinstance(owner, type) else owner


def roofline(models: Models, repetitions: int) -> dict[str, Any]:
    """Stages of a mean, of a prediction with every std, and of a fit's rows, at 512 silicon atoms."""
    gp = models.kernpot("Si")
    atoms = silicon(4)
    sizes = _sizes(gp, atoms)
    machine_rates = rates()
    train = [a for a in DATASETS["Si"].train() if len(a) > 1][:_STRUCTURES]
    labelled = label_structures(train)
    n_train = sum(map(len, train))

    def fold() -> None:
        factors = compress(labelled, gp.fitted_.maker).factors
        for factor in factors.values():
            factor.as_tensors()  # the last QR is done when it is asked for

    work = {
        "mean": (lambda: gp.mean(atoms), len(atoms), mean_costs(sizes)),
        "std": (lambda: gp.predict_full([atoms]), len(atoms), std_costs(sizes)),
        "fit": (fold, n_train, fit_costs(sizes)),
    }
    result: dict[str, Any] = {"rates": machine_rates, "sizes": asdict(sizes), "atoms": len(atoms)}
    for name, (run, n_atoms, costs) in work.items():
        result[name] = _stages(HOOKS[name], run, n_atoms, costs, machine_rates, repetitions)
        for stage, row in result[name].items():
            floor = f", at least {1e3 * row['floor_ms']:.2f}" if "floor_ms" in row else ""
            print(f"{name}: {stage}: {1e3 * row['ms_per_atom']:.2f} us/atom{floor}", flush=True)
    return result


def _stages(
    hooks: Hooks, run: Callable[[], Any], n_atoms: int, costs: dict[str, Cost], machine: dict[str, float], n: int
) -> dict[str, dict[str, float]]:
    """CPU ms/atom of each stage, the median of repetitions, with its operations, bytes and floor."""
    run()
    samples: list[dict[str, float]] = []
    for _ in range(n):
        with watching(hooks) as watch:
            start = time.process_time()
            run()
            total = time.process_time() - start
        samples.append(watch.seconds | {"rest": total - sum(watch.seconds.values()), "all": total})
    missed = [stage for stage in hooks if not samples[0].get(stage)]
    if missed:
        raise SystemExit(f"the code no longer passes through what stages.py watches for {', '.join(missed)}; mend it")
    table: dict[str, dict[str, float]] = {}
    for stage in [*hooks, "rest", "all"]:
        table[stage] = {"ms_per_atom": 1e3 * float(np.median([s[stage] for s in samples])) / n_atoms}
    for stage, (operations, moved_bytes) in costs.items():
        floor = 1e-6 * max(operations / machine["dgemm"], moved_bytes / machine["memory"])
        table[stage] |= {"operations": operations, "bytes": moved_bytes, "floor_ms": floor}
    for key in ("operations", "bytes", "floor_ms"):
        table["all"][key] = sum(table[stage][key] for stage in costs)
    return table


def _sizes(gp: SparseGPPotential, atoms: Atoms) -> Sizes:
    """Sizes of the fitted silicon model."""
    setting = SYSTEMS["Si"].setting("Si")
    _, n_max, l_max, _, _ = setting.descriptors[0]
    features = SOAPFeatures(setting.estimator(["Si"]).descriptor[0])
    return Sizes(
        neighbours=len(features.pairs(atoms).centres) / len(atoms),
        n_max=n_max,
        l_max=l_max,
        n_slots=1,
        n_features=features.n_features,
        n_directions=gp.fitted_.whitening.blocks[0].environments.shape[1],
        n_inducing=gp.n_inducing_,
        zeta=setting.zeta,
    )

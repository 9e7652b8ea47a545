"""Choose settings on the training part alone, by closed-form leave-one-structure-out errors.

    python -m benchmarks accuracy settings Si Mo

Each candidate is fitted to the training part; the one with the lowest sum of log(mean absolute error) of energies and
forces is written to results/settings_<set>.json, from where `accuracy` takes it. The test part is not opened.
Candidates already in the file are not fitted again: delete it to start anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from benchmarks.shared.command_line import some_of
from benchmarks.shared.datasets import DATASETS, Setting, species_of
from benchmarks.shared.results import write_result, written
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import Clock

SMOKE = Smoke(arguments=("Si",))


def main(arguments: Sequence[str]) -> None:
    """Run the candidates of each named data set."""
    for name in some_of("accuracy settings", __doc__, DATASETS, arguments, ("Si", "Mo")):
        data = DATASETS[name]
        train = data.train()
        rows = (written(f"accuracy/settings_{name}") or {"candidates": []})["candidates"]
        known = [Setting.of(r["setting"]) for r in rows]
        for setting in data.candidates:
            if setting in known:
                continue
            clock = Clock()
            gp = setting.estimator(species_of(train)).fit(train)
            mae = gp.summary_["hyperparameters"]["leave_one_out"]["mae"]
            score = float(np.log(mae["energy"]) + np.log(mae["forces"]))
            rows.append({"setting": asdict(setting), "leave_one_out_mae": mae, "score": score, **clock.read()})
            best = min(rows, key=lambda r: r["score"])
            write_result(f"accuracy/settings_{name}", {"candidates": rows, "chosen": best["setting"]})
            print(
                f"{name:8s} {setting.descriptors} zeta={setting.zeta} M={setting.n_inducing} {setting.compression}"
                f" {setting.inducing} leave-one-out: energy {1e3 * mae['energy']:.2f} meV/atom,"
                f" forces {mae['forces']:.4f} eV/A, score {score:.3f}, {rows[-1]['cpu_s']:.0f} s CPU",
                flush=True,
            )

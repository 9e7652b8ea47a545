"""Choose settings of the neural-network ensemble on the training part alone, by a split of it.

    python -m benchmarks networks settings Si Mo 3bpa acac ethanol

Of the training part a fifth (at most 100 structures, drawn with a fixed seed) is kept from the fits; each candidate is
fitted to the rest, with four members, and the one with the lowest sum of log(mean absolute error) of energies and
forces on what was kept is written to results/nnp_settings_<set>.json, from where `accuracy` takes it. The test
part is not opened. Candidates already in the file are not fitted again: delete it to start anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from benchmarks.networks.candidates import NNP_CANDIDATES, NNPSetting
from benchmarks.shared.command_line import some_of
from benchmarks.shared.datasets import DATASETS, species_of
from benchmarks.shared.results import write_result, written
from benchmarks.shared.timing import Clock
from kernpot.uncertainty import evaluate

_PART, _AT_MOST, _SEED, _MEMBERS = 5, 100, 1, 4


def main(arguments: Sequence[str]) -> None:
    """Run the candidates of each named data set."""
    for name in some_of("networks settings", __doc__, NNP_CANDIDATES, arguments, ("Si",)):
        frames = DATASETS[name].train()
        atoms, rest = [f for f in frames if len(f) == 1], [f for f in frames if len(f) > 1]
        order = np.random.default_rng(_SEED).permutation(len(rest))
        n = min(len(rest) // _PART, _AT_MOST)
        kept, train = [rest[k] for k in order[:n]], [*(rest[k] for k in order[n:]), *atoms]
        rows = (written(f"networks/nnp_settings_{name}") or {"candidates": []})["candidates"]
        known = [NNPSetting.of(r["setting"]) for r in rows]
        for setting in NNP_CANDIDATES[name]:
            if setting in known:
                continue
            clock = Clock()
            nnp = setting.estimator(species_of(frames), n_members=_MEMBERS).fit(train)
            spent = clock.read()
            of = {m.kind: m for m in evaluate(nnp, kept).metrics if m.config_type == "all"}
            mae = {"energy": 1e-3 * of["energy"].mae, "forces": of["forces"].mae}
            score = float(np.log(mae["energy"]) + np.log(mae["forces"]))
            rows.append({"setting": asdict(setting), "kept": n, "mae": mae, "score": score, **spent})
            best = min(rows, key=lambda r: r["score"])
            write_result(f"networks/nnp_settings_{name}", {"candidates": rows, "chosen": best["setting"]})
            print(
                f"{name:8s} {setting} energy {1e3 * mae['energy']:.2f} meV/atom, forces {mae['forces']:.4f} eV/A, "
                f"score {score:.3f}, {spent['wall_s']:.0f} s",
                flush=True,
            )

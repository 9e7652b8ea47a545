"""Fit eight networks with the settings chosen on the training part, and open the test part once.

    OMP_NUM_THREADS=2 python benchmarks/nnp_accuracy.py Si Mo 3bpa acac ethanol

Writes results/accuracy_nnp_<set>.json: errors and coverage of the intervals, overall and per config_type, and the time
of the fit.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import asdict

import torch
from accuracy import finite, scores
from common import DATASETS, Clock, read_result, species_of, write_result
from nnp_common import NNPSetting


def main(names: list[str]) -> None:
    """Fit and test each named data set."""
    for name in names:
        data = DATASETS[name]
        chosen = read_result(f"nnp_settings_{name}")["chosen"]
        train = data.train()
        clock = Clock()
        nnp = NNPSetting.of(chosen).estimator(species_of(train)).fit(train)
        fit = clock.read()
        result = scores(nnp, data.test())
        write_result(
            f"accuracy_nnp_{name}",
            {
                "setting": chosen,
                "train_structures": len(train),
                "held_out": nnp.summary_["held_out"],
                "members": nnp.summary_["size"]["networks"],
                "epochs": nnp.summary_["training"]["epochs"],
                "threads": torch.get_num_threads(),
                "test": result,
                "misfit": {kind: finite(asdict(misfit)) for kind, misfit in nnp.misfit_.items()},
                "fit": fit,
            },
        )
        row = result["all"]
        print(
            f"{name:8s} energy MAE {1e3 * row['energy']['mae']:.2f} meV/atom, forces MAE {row['forces']['mae']:.4f} "
            f"eV/A, 90 % covers {100 * row['forces']['coverage']['0.9']:.1f} %, fit {fit['wall_s']:.0f} s wall",
            flush=True,
        )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1:] or ["Si"])

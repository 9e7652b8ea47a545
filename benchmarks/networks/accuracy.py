"""Fit eight networks with the settings chosen on the training part, and open the test part once.

    OMP_NUM_THREADS=2 python -m benchmarks networks accuracy Si Mo 3bpa acac ethanol

Writes results/accuracy_nnp_<set>.json: errors and coverage of the intervals, overall and per config_type, and the time
of the fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.accuracy.accuracy import scores
from benchmarks.networks.candidates import NNP_CANDIDATES, NNPSetting
from benchmarks.shared.command_line import some_of
from benchmarks.shared.datasets import DATASETS, species_of
from benchmarks.shared.results import read_result, write_result
from benchmarks.shared.timing import Clock
from kernpot.calibration.misfit import misfit_data


def main(arguments: Sequence[str]) -> None:
    """Fit and test each named data set."""
    for name in some_of("networks accuracy", __doc__, NNP_CANDIDATES, arguments, ("Si",)):
        data = DATASETS[name]
        chosen = read_result(f"networks/nnp_settings_{name}")["chosen"]
        train = data.train()
        clock = Clock()
        nnp = NNPSetting.of(chosen).estimator(species_of(train)).fit(train)
        fit = clock.read()
        result = scores(nnp, data.test())
        write_result(
            f"networks/accuracy_nnp_{name}",
            {
                "setting": chosen,
                "train_structures": len(train),
                "held_out": nnp.summary_["held_out"],
                "members": nnp.summary_["size"]["networks"],
                "epochs": nnp.summary_["training"]["epochs"],
                "threads": torch.get_num_threads(),
                "test": result,
                "misfit": {kind: misfit_data(misfit) for kind, misfit in nnp.misfit_.items()},
                "fit": fit,
            },
        )
        row = result["all"]
        print(
            f"{name:8s} energy MAE {1e3 * row['energy']['mae']:.2f} meV/atom, forces MAE {row['forces']['mae']:.4f} "
            f"eV/A, 90 % covers {100 * row['forces']['coverage']['0.9']:.1f} %, fit {fit['wall_s']:.0f} s wall",
            flush=True,
        )

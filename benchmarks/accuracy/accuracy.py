"""Fit with the settings chosen on the training part, and open the test part once.

    python -m benchmarks accuracy accuracy Si Mo 3bpa acac ethanol nbmotaw

The descriptor is the one chosen by `settings` at a fixed number of inducing environments; their number is what the fit
itself takes (`n_inducing="auto"`) where the kernel's power is two. Writes results/accuracy_<set>.json: errors and
coverage of the intervals, overall and per config_type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ase import Atoms, units

from benchmarks.shared.command_line import some_of
from benchmarks.shared.datasets import DATASETS, Setting, species_of
from benchmarks.shared.results import read_result, write_result
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import Clock
from kernpot import SparseGPPotential
from kernpot.calibration.misfit import misfit_data
from kernpot.uncertainty import evaluate

SMOKE = Smoke(arguments=("Si",))


def scores(gp: SparseGPPotential, frames: list[Atoms]) -> dict[str, Any]:
    """Errors and calibration by kind of label, overall and per config_type; eV/atom, eV/A, eV/A^3."""
    result = evaluate(gp, frames)
    out: dict[str, Any] = {}
    for m in result.metrics:
        to_model_units = {"energy": 1e-3, "forces": 1.0, "stress": units.GPa}[m.kind]
        row = out.setdefault(m.config_type, {"structures": m.n_structures})
        row[m.kind] = {
            "mae": to_model_units * m.mae,
            "rmse": to_model_units * m.rmse,
            "rms_std": to_model_units * m.sharpness,
            "coverage": {str(level): share for level, share in m.coverage.items()},
            "coverage_range": m.coverage_range,
            "rms_z": m.rms_z,
            "miscalibration_area": m.miscalibration_area,
            "spearman": m.spearman,
            "spearman_oracle": m.spearman_oracle,
            "deciles": [d.coverage for d in m.deciles],
            "n": m.n_components,
            "vanishing": m.n_vanishing,
        }
    return out


def main(arguments: Sequence[str]) -> None:
    """Fit and test each named data set."""
    for name in some_of("accuracy accuracy", __doc__, DATASETS, arguments, ("Si", "Mo")):
        data = DATASETS[name]
        chosen = read_result(f"accuracy/settings_{name}")["chosen"]
        # With other powers the mean costs more the more there are, and their number was chosen.
        setting = Setting.of(chosen, n_inducing="auto") if chosen["zeta"] == 2 else Setting.of(chosen)
        train = data.train()
        clock = Clock()
        gp = setting.estimator(species_of(train)).fit(train)
        fit = clock.read()
        result = scores(gp, data.test())
        write_result(
            f"accuracy/accuracy_{name}",
            {
                "setting": asdict(setting) | {"n_inducing": gp.n_inducing_},
                "growth": gp.summary_.get("growth"),
                "whole_space": gp.summary_["hyperparameters"].get("whole_space"),
                "train_structures": len(train),
                "test": result,
                "published": data.published,
                "noise": gp.noise_,
                "misfit": {kind: misfit_data(misfit) for kind, misfit in gp.misfit_.items()},
                "fit": fit,
                "leave_one_out": gp.summary_["hyperparameters"]["leave_one_out"],
            },
        )
        for group, row in result.items():
            parts = [f"{name:8s} {group:12s} {row['structures']:4d} structures"]
            if "energy" in row:
                e = row["energy"]
                parts.append(
                    f"energy MAE {1e3 * e['mae']:.2f} meV/atom, 90 % covers {100 * e['coverage']['0.9']:.0f} %"
                )
            if "forces" in row:
                f = row["forces"]
                parts.append(
                    f"forces MAE {f['mae']:.4f}, RMSE {f['rmse']:.4f} eV/A, "
                    f"90 % covers {100 * f['coverage']['0.9']:.1f} %,"
                    f" 50 % {100 * f['coverage']['0.5']:.1f} %, deciles "
                    + " ".join(f"{100 * d:.0f}" for d in f["deciles"])
                )
            print("; ".join(parts), flush=True)

"""Which number finds the bad predictions? ROC curves on structures of a kind that the training set lacks.

    python -m benchmarks error_bars detection

Every fifth structure of a published training part is set aside as familiar; a potential is fitted to the others,
without those of one config_type (Si, Mo) or without the upper half in energy (ethanol), and asked for forces on the
structures of that kind and on the familiar ones. A prediction is bad when the error of an atom's force vector exceeds
what 19 of 20 familiar atoms stay below. For each number that a user could put a threshold on, the ROC curve says which
part of the bad predictions it finds at which rate of false alarms; the area below is the probability that a bad
prediction has the larger number. No test part is opened. Writes results/detection.json and docs/figures/detection.png.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from ase import Atoms
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from benchmarks.shared.command_line import nothing
from benchmarks.shared.datasets import DATASETS, Setting, species_of
from benchmarks.shared.results import figure_path, read_result, write_result
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import Clock
from kernpot import SparseGPPotential
from kernpot.report.panels import COLOURS, STYLE

N_INDUCING = 500
N_MEMBERS = 5
# Structures asked about, of the kind left out and of the familiar ones; and those that a molecule learns from.
N_ASKED = 25
N_MOLECULES = 200
FAMILIAR = 0.95
LEFT_OUT = {"Si": ("AIMD-NVT", "Vacancy", "Surface"), "Mo": ("AIMD-NVT", "Vacancy", "Surface"), "ethanol": ("hot",)}
NAMES = {
    "std": "std, calibrated",
    "epistemic_std": "epistemic std",
    "ensemble": f"spread of {N_MEMBERS} bootstrap fits",
    "leverage": "leverage",
    "mahalanobis": "Mahalanobis distance",
    "distance": "nearest distance",
}
SMOKE = Smoke({"N_MEMBERS": 2, "LEFT_OUT": {"Si": ("AIMD-NVT",)}, "N_ASKED": 5})

Numbers = NDArray[np.float64]


def setting_of(name: str) -> Setting:
    """That of the accuracy benchmark with fewer inducing environments, which for solids lie in 128 directions."""
    chosen = read_result(f"accuracy/settings_{name}")["chosen"]
    return Setting.of(chosen, n_inducing=N_INDUCING, n_components=None if name == "ethanol" else 128)


def spread(frames: list[Atoms], n: int) -> list[Atoms]:
    """At most ``n`` of them, evenly."""
    return frames[:: max(1, -(-len(frames) // n))]


def split(name: str, left_out: str) -> tuple[list[Atoms], list[Atoms], list[Atoms]]:
    """Structures to train on, familiar ones, and those of the kind left out."""
    frames = [a for a in DATASETS[name].train() if len(a) > 1]
    if name == "ethanol":
        middle = np.median([a.get_potential_energy() for a in frames])
        low = [a for a in frames if a.get_potential_energy() <= middle]
        high = [a for a in frames if a.get_potential_energy() > middle]
        alone = [a for a in DATASETS[name].train() if len(a) == 1]
        train = [a for k, a in enumerate(low) if k % 5]
        return spread(train, N_MOLECULES) + alone, spread(low[::5], 2 * N_ASKED), spread(high, 2 * N_ASKED)
    known = [a for a in frames if a.info["config_type"] != left_out]
    new = [a for a in frames if a.info["config_type"] == left_out]
    return [a for k, a in enumerate(known) if k % 5], spread(known[::5], N_ASKED), spread(new, N_ASKED)


def ensemble(gp: SparseGPPotential, setting: Setting, train: list[Atoms]) -> list[SparseGPPotential]:
    """Fits to bootstrap samples, at the noise and amplitudes of ``gp``; all have the energies of isolated atoms."""
    members = []
    alone = [a for a in train if len(a) == 1]
    others = [a for a in train if len(a) > 1]
    for seed in range(N_MEMBERS):
        sample = [others[i] for i in np.random.RandomState(seed).choice(len(others), len(others))] + alone
        member = setting.estimator(species_of(train), noise=gp.noise_, optimize=False)
        member.set_params(kernel=gp.kernels_, isolated_atoms=gp.isolated_atoms_, random_state=seed)
        members.append(member.fit(sample))
    return members


def numbers(gp: SparseGPPotential, members: list[SparseGPPotential], frames: list[Atoms]) -> dict[str, Numbers]:
    """Per atom: the error of the force vector, eV/A, and what might have told of it."""
    out: dict[str, list[Numbers]] = {}
    for atoms, p, new in zip(frames, gp.predict_full(frames), gp.novelty(frames), strict=True):
        of_members = np.array([m.mean(atoms).forces for m in members])
        found = {
            "error": np.linalg.norm(p.forces.mean - atoms.get_forces(), axis=1),
            "std": np.linalg.norm(p.forces.std, axis=1),
            "epistemic_std": np.linalg.norm(p.forces.epistemic_std, axis=1),
            "ensemble": np.linalg.norm(of_members.std(axis=0, ddof=1), axis=1),
            "leverage": new.leverage,
            "mahalanobis": new.mahalanobis,
            "distance": new.distance,
        }
        for name, values in found.items():
            out.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in out.items()}


def cpu(function: Callable[[], Any]) -> float:
    """CPU seconds."""
    clock = Clock()
    function()
    return clock.read()["cpu_s"]


def measure(name: str, left_out: str) -> dict[str, Any]:
    """One potential, the kind it has not seen, and the familiar structures."""
    train, familiar, new = split(name, left_out)
    setting = setting_of(name)
    gp = setting.estimator(species_of(train)).fit(train)
    members = ensemble(gp, setting, train)
    known, shifted = numbers(gp, members, familiar), numbers(gp, members, new)
    tolerance = float(np.quantile(known["error"], FAMILIAR))
    both = {key: np.concatenate([known[key], shifted[key]]) for key in known}
    result: dict[str, Any] = {
        "set": name,
        "without": left_out,
        "train_structures": len(train),
        "atoms": {"familiar": len(known["error"]), "left_out": len(shifted["error"])},
        "tolerance_eV_A": tolerance,
        "bad": {"familiar": float(np.mean(known["error"] > tolerance))},
        "cpu_s": {
            "predict_full": cpu(lambda: gp.predict_full(new)),
            "novelty": cpu(lambda: gp.novelty(new)),
            "ensemble": cpu(lambda: [m.mean(a) for m in members for a in new]),
        },
        "curves": {},
    }
    result["bad"]["left_out"] = float(np.mean(shifted["error"] > tolerance))
    for case, values in {"left_out": shifted, "both": both}.items():
        bad = values["error"] > tolerance
        result["curves"][case] = {key: curve(bad, values[key]) for key in NAMES}
        print(name, left_out, case, f"{100 * bad.mean():.0f} % bad,", end=" ")
        print(", ".join(f"{key} {result['curves'][case][key]['auc']:.3f}" for key in NAMES), flush=True)
    return result


def curve(bad: NDArray[np.bool_], values: Numbers) -> dict[str, Any]:
    """Area under the ROC curve, and the curve at 101 rates of false alarms."""
    false, true, _ = roc_curve(bad, values)
    return {"auc": float(roc_auc_score(bad, values)), "found": np.interp(np.linspace(0, 1, 101), false, true).round(4)}


def plot(rows: list[dict[str, Any]]) -> None:
    """A panel for each kind left out, with the familiar structures."""
    with mpl.rc_context(STYLE):
        width = 4
        height = -(-(len(rows) + 1) // width)
        figure = Figure(figsize=(2.9 * width, 2.9 * height), layout="constrained")
        panels = np.ravel(figure.subplots(height, width))
        for axes, row in zip(panels, rows, strict=False):
            for key, colour in zip(NAMES, COLOURS, strict=False):
                found = row["curves"]["both"][key]
                axes.plot(np.linspace(0, 1, 101), found["found"], color=colour, linewidth=1.3)
            axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
            axes.set(title=f"{row['set']} without {row['without']}", xlabel="false alarms", ylabel="found", aspect=1)
        for axes in panels[len(rows) :]:
            axes.axis("off")
        for key, colour in zip(NAMES, COLOURS, strict=False):
            panels[len(rows)].plot([], [], color=colour, label=NAMES[key])
        panels[len(rows)].legend(loc="center")
        figure.savefig(figure_path("detection"), dpi=130)


def main(arguments: Sequence[str]) -> None:
    """Measure and store."""
    nothing("error_bars detection", __doc__, arguments)
    clock = Clock()
    rows = [measure(name, kind) for name, kinds in LEFT_OUT.items() for kind in kinds]
    write_result("error_bars/detection", {"rows": rows, "names": NAMES, **clock.read()})
    plot(rows)

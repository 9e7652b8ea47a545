"""Tables of the neural-network ensemble's measurements for the texts."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.results import read_result, written
from benchmarks.shared.tables import not_yet, table

NAMES = {"Si": "Si", "Mo": "Mo", "3bpa": "3BPA, 300 K", "acac": "acetylacetone", "ethanol": "ethanol"}


def _measured(prefix: str) -> list[str]:
    return [n for n in DATASETS if written(f"networks/{prefix}_{n}") is not None]


def accuracy() -> str:
    """Test errors and coverage of both backends, each with settings chosen on the training part."""
    rows = []
    for name in _measured("accuracy_nnp"):
        r, gp = read_result(f"networks/accuracy_nnp_{name}"), read_result(f"accuracy/accuracy_{name}")["test"]["all"]
        own = r["test"]["all"]
        rows.append(
            [
                NAMES[name],
                f"{r['train_structures']} / {own['structures']}",
                f"{1e3 * own['energy']['mae']:.2f} / {1e3 * gp['energy']['mae']:.2f}",
                f"{own['forces']['mae']:.4f} / {gp['forces']['mae']:.4f}",
                f"{100 * own['energy']['coverage']['0.9']:.0f} / {100 * gp['energy']['coverage']['0.9']:.0f} %",
                f"{100 * own['forces']['coverage']['0.9']:.0f} / {100 * gp['forces']['coverage']['0.9']:.0f} %",
                f"{r['fit']['wall_s'] / 60:.1f}",
            ]
        )
    if not rows:
        return not_yet("networks accuracy")
    header = ["data", "train / test", "energy MAE, meV/atom, networks / GP", "force MAE, eV/A, networks / GP"]
    header += ["90 % energy intervals hold", "90 % force intervals hold", "training of the networks, min"]
    return table(header, rows)


def settings() -> str:
    """Candidates and what was chosen."""
    rows = []
    for name in _measured("nnp_settings"):
        r = read_result(f"networks/nnp_settings_{name}")
        for row in r["candidates"]:
            s = row["setting"]
            soap = f"r {s['descriptor'][0]}, n {s['descriptor'][1]}, l {s['descriptor'][2]}, {s['descriptor'][3]} A"
            chosen = " (chosen)" if s == r["chosen"] else ""
            rows.append(
                [
                    NAMES[name] + chosen,
                    soap + ("" if s["compression"] == "off" else f", {s['compression']}"),
                    str(s["n_components"]),
                    str(s["max_epochs"]),
                    f"{1e3 * row['mae']['energy']:.2f}",
                    f"{row['mae']['forces']:.4f}",
                ]
            )
    if not rows:
        return not_yet("networks settings")
    return table(["data", "SOAP", "inputs", "epochs", "energy MAE, meV/atom", "force MAE, eV/A"], rows)


def cost() -> str:
    """What members cost."""
    if (r := written("networks/nnp_cost")) is None:
        return not_yet("networks cost")
    rows = [
        [
            row["networks"].replace("shallow", "shallow,"),
            *(f"{1e3 * row[what]:.1f} ({row['ratio'][what]:.2f})" for what in ("epoch", "mean", "with_spread")),
        ]
        for row in r["rows"]
    ]
    header = ["networks", "epoch, ms (to one)", "mean, ms (to one)", "mean and spread of everything, ms (to one)"]
    setting = f"{r['structures']} structures of Si, {r['threads']} thread(s); predictions of {r['atoms']} atoms.\n\n"
    return setting + table(header, rows)


SECTIONS: dict[str, Callable[[], str]] = {"nnp_accuracy": accuracy, "nnp_settings": settings, "nnp_cost": cost}

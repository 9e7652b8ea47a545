"""Tables of accuracy on published splits, of derivatives, and the summary of the README."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.results import read_result, written
from benchmarks.shared.tables import not_yet, table

NAMES = {
    "Si": "Si (Zuo et al. 2020)",
    "Mo": "Mo (Zuo et al. 2020)",
    "3bpa": "3BPA, 300 K",
    "acac": "acetylacetone, 300 K",
    "ethanol": "ethanol (rMD17, relabelled)",
    "nbmotaw": "NbMoTaW, own split",
}


def measured(prefix: str) -> list[tuple[str, dict[str, Any]]]:
    """Stored results of the data sets, in the order of the table."""
    return [(n, r) for n in DATASETS if (r := written(f"accuracy/{prefix}_{n}")) is not None]


def accuracy() -> str:
    """Test errors beside the published ones."""
    rows = []
    for name, r in measured("accuracy"):
        test = r["test"]["all"]
        published = "; ".join(f"{code} {v['energy']:.2f}, {v['forces']:.2f}" for code, v in r["published"].items())
        rows.append(
            [
                NAMES[name],
                f"{r['train_structures']} / {test['structures']}",
                f"{1e3 * test['energy']['mae']:.2f}",
                f"{test['forces']['mae']:.3f}",
                f"{1e3 * test['forces']['rmse']:.0f}",
                f"{100 * test['energy']['coverage']['0.9']:.0f} %",
                f"{100 * test['forces']['coverage']['0.9']:.0f} %",
                published or "-",
            ]
        )
    header = ["data", "train / test", "energy MAE, meV/atom", "force MAE, eV/A", "force RMSE, meV/A"]
    header += ["90 % energy intervals hold", "90 % force intervals hold", "published MAE (meV/atom, eV/A)"]
    return table(header, rows)


def defaults() -> str:
    """Test errors of the default settings, beside those of the chosen ones."""
    chosen = dict(measured("accuracy"))
    rows = []
    for name, r in measured("defaults"):
        test = r["test"]["all"]
        beside = chosen[name]["test"]["all"] if name in chosen else None
        ratios = {k: f"{test[k]['mae'] / beside[k]['mae']:.2f}" if beside else "-" for k in ("energy", "forces")}
        rows.append(
            [
                NAMES[name],
                str(r["n_inducing"]),
                f"{1e3 * test['energy']['mae']:.2f}",
                ratios["energy"],
                f"{1e3 * test['forces']['mae']:.1f}",
                ratios["forces"],
                f"{1e3 * test['forces']['rmse']:.1f}",
                f"{100 * test['energy']['coverage']['0.9']:.0f} %",
                f"{100 * test['forces']['coverage']['0.9']:.0f} %",
                f"{r['fit']['cpu_s'] / 60:.1f}",
            ]
        )
    header = ["data", "inducing environments", "energy MAE, meV/atom", "by that of chosen settings", "force MAE, meV/A"]
    header += ["by that of chosen settings", "force RMSE, meV/A", "90 % energy intervals hold"]
    return table([*header, "90 % force intervals hold", "fit, CPU min"], rows)


def sizes() -> str:
    """Inducing environments of each fit, what the last doubling brought, and what the fit took."""
    rows = []
    for prefix, words in (("accuracy", "chosen"), ("defaults", "default")):
        for name, r in measured(prefix):
            growth = r.get("growth")
            if growth is None:
                continue
            gain = growth["steps"][-1]["gain"]
            rows.append(
                [
                    NAMES[name],
                    words,
                    str(growth["steps"][-1]["n_inducing"]),
                    "-" if gain is None else f"{100 * (1 - math.exp(-gain)):.0f} %",
                    growth["stopped"],
                    f"{1e3 * r['test']['all']['energy']['mae']:.2f}",
                    f"{1e3 * r['test']['all']['forces']['rmse']:.0f}",
                    f"{r['fit']['cpu_s'] / 60:.1f}",
                ]
            )
    header = ["data", "settings", "inducing environments", "errors left out, half to all", "no more, because"]
    return table([*header, "energy MAE, meV/atom", "force RMSE, meV/A", "fit, CPU min"], rows)


def curves() -> str:
    """Test errors and coverage by the number of training structures."""
    rows = []
    for name, r in measured("curves"):
        for row in r["rows"]:
            e, f = row["test"]["energy"], row["test"]["forces"]
            rows.append(
                [
                    NAMES[name],
                    str(row["structures"]),
                    str(row["n_inducing"]),
                    f"{1e3 * e['mae']:.2f}",
                    f"{1e3 * f['mae']:.1f}",
                    f"{100 * e['coverage']:.0f} %, {100 * f['coverage']:.0f} %",
                    f"{row['fit']['cpu_s']:.0f}",
                ]
            )
    header = ["data", "structures", "inducing environments", "energy MAE, meV/atom", "force MAE, meV/A"]
    return table([*header, "90 % intervals hold energies, forces", "fit, CPU s"], rows)


def whole_space() -> str:
    """Errors on structures left out, of inducing environments and of the mean among all quadratic forms."""
    rows = []
    for prefix, words in (("accuracy", "chosen"), ("defaults", "default"), ("curves", "default")):
        for name, stored in measured(prefix):
            for r in stored.get("rows", [stored]):
                told = r.get("whole_space")
                if told is None:
                    continue
                n = r["structures"] if prefix == "curves" else "all"
                rows.append([NAMES[name], words, str(n), str(told["structures"]), f"{told['steps']}", *_beside(told)])
    header = ["data", "settings", "learnt", "left out", "steps", "energy MAE, meV/atom", "force MAE, meV/A"]
    return table(header, rows)


def _beside(told: dict[str, Any]) -> list[str]:
    """Errors before and after, of energies and forces."""
    return [f"{1e3 * told['errors_before'][k]:.2f} -> {1e3 * told['errors'][k]:.2f}" for k in ("energy", "forces")]


def ideas() -> str:
    """Errors on structures left out with one setting changed at a time, beside those with none changed."""
    found = measured("ideas")
    names = list(dict.fromkeys(row["idea"] for _, r in found for row in r["rows"]))
    rows = []
    for idea in names:
        cells = []
        for _, r in found:
            of = {row["idea"]: row for row in r["rows"]}
            cells.append(
                f"{1e3 * of[idea]['mae']['energy']:.2f}, {1e3 * of[idea]['mae']['forces']:.1f}" if idea in of else "-"
            )
        rows.append([idea, *cells])
    return table(["setting", *(f"{NAMES[name]}: meV/atom, meV/A" for name, _ in found)], rows)


def searched() -> str:
    """Errors on structures left out by how many inducing environments the evidence was searched with."""
    if not (found := measured("searched")):
        return not_yet("accuracy searched")
    rows = []
    for name, r in found:
        rows += [
            [
                NAMES[name],
                f"{min(row['searched'], row['n_inducing'])} of {row['n_inducing']}",
                f"{1e3 * row['mae']['energy']:.3f}",
                f"{1e3 * row['mae']['forces']:.2f}",
                f"{row['cpu_s']:.0f}",
            ]
            for row in r["rows"]
        ]
    header = ["data", "searched with", "left-out energy MAE, meV/atom", "left-out force MAE, meV/A", "fit, CPU s"]
    return table(header, rows)


def groups() -> str:
    """Errors and coverage per configuration type."""
    rows = []
    for name, r in measured("accuracy"):
        for group, t in r["test"].items():
            if group != "all" and "forces" in t:
                e = t.get("energy")
                rows.append(
                    [
                        NAMES[name],
                        group,
                        str(t["structures"]),
                        f"{1e3 * e['mae']:.2f}" if e else "-",
                        f"{t['forces']['mae']:.3f}",
                        f"{100 * e['coverage']['0.9']:.0f} %" if e else "-",
                        "-" if math.isnan(held := t["forces"]["coverage"]["0.9"]) else f"{100 * held:.0f} %",
                    ]
                )
    header = ["data", "config_type", "structures", "energy MAE, meV/atom", "force MAE, eV/A"]
    return table([*header, "energy coverage of 90 %", "force coverage of 90 %"], rows)


def physics() -> str:
    """Derivatives, conservation, smoothness."""
    r = read_result("accuracy/physics")
    d, c, n = r["differences"], r["crossing"], r["nve"]
    lines = [
        f"* Forces equal central differences of the energy to {d['force']:.1e} of the largest component, "
        f"stress to {d['stress']:.1e}.",
        f"* NVE, 64 Si atoms, {n['ps']:.0f} ps at a mean of {n['mean_temperature_K']:.0f} K: drift "
        f"{n['drift_meV_atom']:+.4f} meV/atom.",
        f"* An atom crossing the cutoff in steps of {c['step_A']:.4f} A: largest step of the energy "
        f"{c['largest_energy_step_eV']:.1e} eV, of the force {c['largest_force_step_eV_A']:.1e} eV/A.",
    ]
    return "\n".join(lines)


def summary() -> str:
    """What the README says: accuracy on published splits, and silicon beside GAP in one run."""
    accuracies = []
    for name, r in measured("accuracy"):
        test = r["test"]["all"]
        published = "; ".join(f"{code} {v['energy']:.2f}, {v['forces']:.2f}" for code, v in r["published"].items())
        errors = f"{1e3 * test['energy']['mae']:.2f}, {test['forces']['mae']:.3f}"
        held = " / ".join(f"{100 * test[kind]['coverage']['0.9']:.0f} %" for kind in ("energy", "forces"))
        accuracies.append([NAMES[name], errors, published or "-", held])
    header = ["test MAE of energy and forces", "kernpot, meV/atom, eV/A", "published", "90 % intervals hold"]
    speed = read_result("speed/speed")
    fit, test = speed["fit"], speed["fit"]["test"]

    def of(part: str) -> dict[str, Any]:
        (row,) = [r for r in speed[part]["rows"] if (r["system"], r["atoms"]) == ("Si", 512)]
        return {code: t["median"] for code, t in row["ms_per_atom"].items()}

    mean, std = of("mean"), of("std")
    codes = ("kernpot", "gap_fit")
    errors = [f"{test[c]['energy_mae_meV']:.2f}, {test[c]['force_mae']:.3f}" for c in codes]
    beside = [
        ["fit, CPU s", *(f"{fit['fit'][c]['cpu_s']:.0f}" for c in codes)],
        ["fit, peak memory, GB", *(f"{fit['fit'][c]['peak_memory_GB']:.1f}" for c in codes)],
        ["test MAE, meV/atom, eV/A", *errors],
        ["energy, forces, stress, CPU ms/atom", f"{mean['kernpot']:.3f}", f"{mean['gap']:.2f}"],
        ["with a std of every number, CPU ms/atom", f"{std['kernpot_std']:.2f}", "not offered for forces and stress"],
    ]
    return (
        table(header, accuracies)
        + "\n\n"
        + table(["silicon, 1000 inducing environments, one core, 512 atoms", "kernpot", "GAP (quippy-ase)"], beside)
    )

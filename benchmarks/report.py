"""Write docs/benchmarks.md and the tables of README.md from the stored measurements.

    python benchmarks/report.py            # write
    python benchmarks/report.py --check    # exit 1 when a text disagrees with the JSON it comes from

No number is typed into a text by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from common import DATASETS, HERE, RESULTS, read_result

ROOT = HERE.parent
BEGIN, END = "<!-- measured: written by benchmarks/report.py -->", "<!-- end of measured -->"
NAMES = {
    "Si": "Si (Zuo et al. 2020)",
    "Mo": "Mo (Zuo et al. 2020)",
    "3bpa": "3BPA, 300 K",
    "acac": "acetylacetone, 300 K",
    "ethanol": "ethanol (rMD17, relabelled)",
    "nbmotaw": "NbMoTaW, own split",
}


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(r)} |" for r in [header, ["---"] * len(header), *rows])


def measured(prefix: str) -> list[tuple[str, dict[str, Any]]]:
    """Stored results of the data sets, in the order of the table."""
    return [(n, read_result(f"{prefix}_{n}")) for n in DATASETS if (RESULTS / f"{prefix}_{n}.json").exists()]


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
                f"{100 * test['energy']['coverage_90']:.0f} %",
                f"{100 * test['forces']['coverage_90']:.0f} %",
                published or "-",
            ]
        )
    header = ["data", "train / test", "energy MAE, meV/atom", "force MAE, eV/A", "force RMSE, meV/A"]
    header += ["90 % energy intervals hold", "90 % force intervals hold", "published MAE (meV/atom, eV/A)"]
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
                        f"{100 * e['coverage_90']:.0f} %" if e else "-",
                        f"{100 * t['forces']['coverage_90']:.0f} %",
                    ]
                )
    header = ["data", "config_type", "structures", "energy MAE, meV/atom", "force MAE, eV/A"]
    return table([*header, "energy coverage of 90 %", "force coverage of 90 %"], rows)


def versus_gap() -> str:
    """Fit and prediction beside GAP."""
    r = read_result("versus_gap")
    fit = r["fit"]
    rows = [
        [
            code,
            f"{fit[key]['cpu_s']:.0f}",
            f"{fit[key]['wall_s']:.0f}",
            f"{fit[key]['peak_memory_GB']:.2f}",
            f"{r['test'][test]['energy_mae_meV']:.2f}",
            f"{r['test'][test]['force_mae']:.3f}",
        ]
        for code, key, test in (("kernpot", "kernpot", "kernpot"), ("gap_fit (quippy-ase)", "gap_fit", "gap"))
    ]
    fits = table(
        [
            "fit of Si, M = 1000, one core",
            "CPU s",
            "wall s",
            "peak memory, GB",
            "test energy MAE, meV/atom",
            "test force MAE, eV/A",
        ],
        rows,
    )
    speed = r["prediction_ms_per_atom"]
    rows = [
        [
            size,
            f"{v['kernpot_mean']:.3f}",
            f"{v['kernpot_full_posterior']:.2f}",
            f"{v['gap_mean']:.2f}",
            f"{v['gap_mean'] / v['kernpot_mean']:.0f}x",
        ]
        for size, v in speed.items()
    ]
    times = table(
        [
            "energy + forces + stress, CPU ms/atom",
            "kernpot mean",
            "kernpot with every std",
            "GAP mean",
            "mean against mean",
        ],
        rows,
    )
    ratio = (
        f"kernpot's fit takes {r['fit_cpu_ratio']:.2f} of gap_fit's CPU time and "
        f"{r['fit_memory_ratio']:.2f} of its memory."
    )
    return f"{fits}\n\n{ratio}\n\n{times}"


def physics() -> str:
    """Derivatives, conservation, smoothness."""
    r = read_result("physics")
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


def scaling() -> str:
    """Features and their derivatives up to 10^5 atoms."""
    rows = [
        [f"{r['atoms']:,}", f"{r['cpu_ms_per_atom']:.3f}", f"{r['peak_memory_GB']:.2f}"]
        for r in read_result("scaling")["rows"]
    ]
    return table(["atoms", "features and their pull-back, CPU ms/atom", "peak memory, GB"], rows)


def page() -> str:
    """The whole of docs/benchmarks.md."""
    machine = read_result("scaling")["machine"]
    parts = [
        "# Benchmarks",
        "Every number on this page is written by `benchmarks/report.py` from the JSON files in `benchmarks/results/`, "
        "which the commands below produce. Measured on one core of a 2-core "
        f"{machine['machine']} machine, Python {machine['python']}, torch {machine['torch']}, "
        f"DScribe {machine['dscribe']}.",
        "## Accuracy on published splits",
        "`python benchmarks/settings.py SET` chooses descriptor, power and size on the training part by closed-form "
        "leave-one-structure-out errors; `python benchmarks/accuracy.py SET` fits once and opens the test part once.",
        accuracy(),
        "Published errors are those tabulated with the ACEpotentials.jl paper, J. Chem. Phys. 159, 164101 (2023). The "
        "3BPA test frames are a subset cut from a published mixed-temperature file, not the published test set. The "
        "intervals were calibrated on leave-one-structure-out errors of the training part alone.",
        groups(),
        "## Beside GAP, same machine, same run",
        "`python benchmarks/versus_gap.py` (needs `pip install kernpot[bench]`). kernpot fits energies, forces and "
        "stress and finds its hyperparameters; gap_fit fits energies and forces with those of the published model.",
        versus_gap(),
        "## Derivatives, conservation, smoothness",
        "`python benchmarks/physics.py`",
        physics(),
        "## Cost against size",
        "`python benchmarks/scaling.py`",
        scaling(),
    ]
    return "\n\n".join(parts) + "\n"


def readme(text: str) -> str:
    """README.md with its measured part renewed."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n\n{accuracy()}\n\n{versus_gap()}\n\n{physics()}\n\n{END}{tail}"


def main() -> int:
    """Write, or check."""
    targets: dict[Path, str] = {ROOT / "docs" / "benchmarks.md": page()}
    path = ROOT / "README.md"
    targets[path] = readme(path.read_text())
    if "--check" in sys.argv:
        stale = [str(p.relative_to(ROOT)) for p, text in targets.items() if p.read_text() != text]
        for name in stale:
            print(f"{name} does not say what benchmarks/results/ says; run python benchmarks/report.py")
        return 1 if stale else 0
    for p, text in targets.items():
        p.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

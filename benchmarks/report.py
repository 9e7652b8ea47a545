"""Write docs/benchmarks.md and the measured parts of README.md and two pages of docs/ from the stored measurements.

    python benchmarks/report.py            # write
    python benchmarks/report.py --check    # exit 1 when a text disagrees with the JSON it comes from

No number is typed into a text by hand.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from cluster_tables import SECTIONS as CLUSTER
from common import DATASETS, HERE, RESULTS, read_result
from compare_tables import SECTIONS as COMPARE
from few_tables import few
from gate_tables import SECTIONS as GATE
from lammps_tables import SECTIONS as LAMMPS
from learning_tables import SECTIONS as LEARNING
from metatomic_tables import SECTIONS as METATOMIC
from nnp_tables import SECTIONS as NNP
from on_the_fly_tables import SECTIONS as ON_THE_FLY
from speed_tables import SECTIONS as SPEED
from speed_tables import table
from uncertainty_tables import SECTIONS as UNCERTAINTY

ROOT = HERE.parent
END = "<!-- end of measured -->"  # of a part that begins with <!-- measured: NAME -->
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
                f"{100 * test['energy']['coverage']['0.9']:.0f} %",
                f"{100 * test['forces']['coverage']['0.9']:.0f} %",
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
                        f"{100 * e['coverage']['0.9']:.0f} %" if e else "-",
                        f"{100 * t['forces']['coverage']['0.9']:.0f} %",
                    ]
                )
    header = ["data", "config_type", "structures", "energy MAE, meV/atom", "force MAE, eV/A"]
    return table([*header, "energy coverage of 90 %", "force coverage of 90 %"], rows)


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


def derived() -> str:
    """Coverage of derived properties by way of drawing."""
    rows = []
    for name in ("derived", "derived_NbTaW"):
        summary = read_result(name)["summary"]
        for row in [s for s in summary if s["way"] == "calibrated"]:
            of = {k: row[k] for k in ("set", "group", "size") if k in row}
            ways = {s["way"]: s for s in summary if {k: s[k] for k in ("set", "group", "size") if k in s} == of}
            sets = "Si, Mo" if name == "derived" else "Nb, Ta, W"
            what = f"{of['set']}: {of['group']}" if "set" in of else f"{sets}: {of['size']} structures" if of else sets
            cells = [f"{100 * ways[w]['covered']:.0f} %" for w in ("bayes", "pops", "calibrated", "exact")]
            rows.append([f"{what} ({row['n']})", *cells])
    header = ["property (values compared)", "plain posterior", "POPS", "calibrated draws (the default)"]
    return table([*header, "the same, linearised"], rows)


def page() -> str:
    """The whole of docs/benchmarks.md."""
    machine = read_result("accuracy_Si")["machine"]
    parts = [
        "# Benchmarks",
        "Every number on this page is written by `benchmarks/report.py` from the JSON files in `benchmarks/results/`, "
        "which the commands below produce. Measured on one core of a 2-core "
        f"{machine['machine']} machine, Python {machine['python']}, torch {machine['torch']}, "
        f"DScribe {machine['dscribe']}. Speed and memory have a page of their own: [How fast, and why](speed.md).",
        "## Accuracy on published splits",
        "`python benchmarks/settings.py SET` chooses descriptor, power and size on the training part by closed-form "
        "leave-one-structure-out errors; `python benchmarks/accuracy.py SET` fits once and opens the test part once.",
        accuracy(),
        "Published errors are those tabulated with the ACEpotentials.jl paper, J. Chem. Phys. 159, 164101 (2023). The "
        "3BPA test frames are a subset cut from a published mixed-temperature file, not the published test set. The "
        "intervals were calibrated on leave-one-structure-out errors of the training part alone.",
        groups(),
        "## Few structures",
        "`python benchmarks/few_structures.py`: where the structures hold fewer environments than `n_inducing` (1000 "
        "here), those of slightly displaced copies become inducing too. Without / with them, means of two random "
        "choices of structures; everything, the 20 held-out structures included, comes from training parts.",
        few(),
        "## Derived properties",
        "`python benchmarks/derived.py` and `python benchmarks/derived.py --sets Nb Ta W`: how many 90 % intervals of "
        "elastic constants, energies of strained and of defective cells, and differences along MD hold the DFT value, "
        "for models of 10 to 80 structures, five random training sets of each size. DFT values come from frames of the "
        "training parts that were left out. The default was chosen on Si and Mo; Nb, Ta and W were looked at after.",
        derived(),
        "## Derivatives, conservation, smoothness",
        "`python benchmarks/physics.py`",
        physics(),
    ]
    return "\n\n".join(parts) + "\n"


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
    speed = read_result("speed")
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


def fill(text: str) -> str:
    """A text with its measured parts renewed.

    Raises
    ------
    SystemExit
        For a part that nobody measures.
    """
    sections = (
        SPEED
        | LEARNING
        | UNCERTAINTY
        | GATE
        | ON_THE_FLY
        | COMPARE
        | NNP
        | LAMMPS
        | CLUSTER
        | METATOMIC
        | {"summary": summary}
    )

    def renewed(found: re.Match[str]) -> str:
        name = found[1]
        if name not in sections:
            raise SystemExit(f"expected one of {', '.join(sections)} after 'measured:', got {name}")
        return f"<!-- measured: {name} -->\n\n{sections[name]()}\n\n{END}"

    return re.sub(rf"<!-- measured: (\w+) -->.*?{re.escape(END)}", renewed, text, flags=re.S)


def main() -> int:
    """Write, or check."""
    targets: dict[Path, str] = {ROOT / "docs" / "benchmarks.md": page()}
    for path in (
        ROOT / "README.md",
        ROOT / "docs" / "speed.md",
        ROOT / "docs" / "uncertainty.md",
        ROOT / "docs" / "gate.md",
        ROOT / "docs" / "learning.md",
        ROOT / "docs" / "compare.md",
        ROOT / "docs" / "networks.md",
        ROOT / "docs" / "lammps.md",
        ROOT / "docs" / "cluster.md",
        ROOT / "docs" / "metatomic.md",
    ):
        targets[path] = fill(path.read_text())
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

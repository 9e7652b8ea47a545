"""Fill the numbers into the paper, draw its figures, and make the PDFs.

    python paper/build.py            # paper.md, methods.md and figures/ from the templates and the stored measurements
    python paper/build.py --check    # exit 1 when a text disagrees with what was measured
    python paper/build.py --pdf      # the PDFs as well; needs pip install 'kernpot[paper]'

In a template ``{{NAME.key.key|.1f}}`` is a number of ``benchmarks/*/results/NAME.json``, in a
format, optionally times a factor (``{{NAME.key*100|.0f}}``); ``{{table:NAME}}`` a table of the documentation;
``{{NAME:WORD}}`` one of the values below.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TEXTS = ("paper", "methods")
FIGURES = HERE / "figures"
sys.path.insert(0, str(ROOT))


def stored(name: str) -> Any:
    """A measurement.

    Raises
    ------
    SystemExit
        There is none of that name.
    """
    for path in ROOT.glob(f"benchmarks/*/results/{name}.json"):
        return json.loads(path.read_text())
    raise SystemExit(f"no {name}.json among the results; which benchmark writes it?")


def number(expression: str) -> str:
    """A number of a measurement, such as ``speed.fit.ratio.cpu_s|.1f``.

    Raises
    ------
    SystemExit
        The measurement has no such entry.
    """
    path, _, form = expression.partition("|")
    path, _, factor = path.partition("*")
    name, *keys = path.split(".")
    found = stored(name)
    while keys:
        # Keys may hold dots themselves, as "0.9" does.
        for n in range(1, len(keys) + 1):
            key: Any = ".".join(keys[:n])
            if isinstance(found, list):
                key = int(key)
            if isinstance(found, list) or key in found:
                found, keys = found[key], keys[n:]
                break
        else:
            raise SystemExit(f"{name}.json has no {path}: {'.'.join(keys)} is not there.")
    return format(found * float(factor) if factor else found, form)


def style(name: str, ranks: int) -> dict[str, Any]:
    """A pair style of LAMMPS on the largest system measured."""
    cases = [c for c in stored("pair_styles")["cases"] if (c["style"], c["ranks"]) == (name, ranks)]
    return max(cases, key=lambda c: c["atoms"])


def in_lammps(name: str) -> str:
    """Microseconds per atom and step of a pair style on one rank."""
    found = style(name, 1)
    return f"{1e6 * found['seconds_per_step'] / found['atoms']:.0f}"


def derived(way: str) -> str:
    """Per cent of derived properties of Nb, Ta and W inside their 90 % intervals."""
    (row,) = [
        r for r in stored("derived_NbTaW")["summary"] if r["way"] == way and not {"set", "group", "size"} & set(r)
    ]
    return f"{100 * row['covered']:.0f}"


VALUES: dict[str, Callable[[], str]] = {
    "derived_NbTaW:bayes": lambda: derived("bayes"),
    "derived_NbTaW:pops": lambda: derived("pops"),
    "derived_NbTaW:calibrated": lambda: derived("calibrated"),
    "lammps:plugin": lambda: in_lammps("plugin"),
    "lammps:plugin_std": lambda: in_lammps("plugin, stds at every step"),
    "lammps:snap": lambda: in_lammps("SNAP"),
    "lammps:plugin_speedup": lambda: (
        f"{style('plugin', 1)['seconds_per_step'] / style('plugin', 2)['seconds_per_step']:.1f}"
    ),
    "lammps:plugin_atoms": lambda: f"{style('plugin', 2)['atoms']:,}",
}


def value(expression: str) -> str:
    """What stands for a placeholder."""
    if expression.startswith("table:"):
        from benchmarks.accuracy.tables import summary

        return {"table:summary": summary}[expression]()
    return VALUES[expression]() if expression in VALUES else number(expression)


def filled(template: str) -> str:
    """A text with its numbers."""
    return re.sub(r"\{\{(.+?)\}\}", lambda found: value(found[1]), template)


def draw() -> None:
    """All figures."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    FIGURES.mkdir(exist_ok=True)
    for name, figure in (("speed", speed), ("coverage", coverage), ("derived", derived_figure)):
        made = figure(plt)
        made.savefig(FIGURES / f"{name}.png", dpi=150, metadata={"Software": None})
        plt.close(made)


def speed(plt: Any) -> Any:
    """Time per atom and cost of a fit beside GAP."""
    r = stored("speed")
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.4), layout="constrained", width_ratios=[2, 1])
    rows = r["mean"]["rows"]
    written = {"nbmotaw": "NbMoTaW", "3bpa": "3BPA"}
    names = [f"{written.get(row['system'], row['system'])}\n{row['atoms']:,} atoms" for row in rows]
    stds = [row["ms_per_atom"]["kernpot_std"]["median"] for row in r["std"]["rows"]]
    for shift, label, values in (
        (-0.25, "kernpot", [row["ms_per_atom"]["kernpot"]["median"] for row in rows]),
        (0.0, "kernpot, with every std", stds),
        (0.25, "GAP", [row["ms_per_atom"]["gap"]["median"] for row in rows]),
    ):
        left.bar([k + shift for k in range(len(rows))], values, width=0.24, label=label)
    left.set(yscale="log", ylabel="CPU ms per atom", xticks=range(len(rows)), xticklabels=names)
    left.legend(fontsize=8, ncol=3, loc="upper center")
    left.set_ylim(0.01, 10)
    fit = r["fit"]["fit"]
    bars = [fit[c][k] for k in ("cpu_s", "peak_memory_GB") for c in ("kernpot", "gap_fit")]
    right.bar([0, 0.8, 2, 2.8], bars, color=["C0", "C2"] * 2, width=0.75)
    right.bar_label(right.containers[0], fmt="%.3g", fontsize=8)
    right.set(yscale="log", xticks=[0.4, 2.4], xticklabels=["fit, CPU s", "fit, GB"], ylim=(0.3, 1000))
    return figure


def coverage(plt: Any) -> Any:
    """Force coverage of groups, by what is different about them."""
    rows = [row for row in stored("coverage")["rows"] if row.get("forces")]
    kinds = ["none", *sorted({row["shift"] for row in rows} - {"none"})]
    figure, axis = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    for k, kind in enumerate(kinds):
        own = [row for row in rows if row["shift"] == kind]
        for familiar, marker in ((True, "o"), (False, "x")):
            held = [100 * row["forces"]["coverage"]["0.9"] for row in own if row["familiar"] is familiar]
            axis.plot(held, [-k] * len(held), marker, color="C0" if familiar else "C3", ms=5, alpha=0.8)
    axis.plot([], [], "o", color="C0", label="like those learnt")
    axis.plot([], [], "x", color="C3", label="left out as a whole")
    axis.axvline(90, color="0.4", linewidth=0.8)
    axis.set(yticks=[-k for k in range(len(kinds))], yticklabels=["same kinds" if k == "none" else k for k in kinds])
    axis.set(xlabel="force components inside their 90 % intervals, %")
    axis.legend(fontsize=8, loc="upper left")
    return figure


def derived_figure(plt: Any) -> Any:
    """Coverage of derived properties against the size of the training set."""
    figure, axis = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
    rows = [r for r in stored("derived_NbTaW")["summary"] if "size" in r and not {"set", "group"} & set(r)]
    for way, label in (("bayes", "plain posterior"), ("pops", "POPS"), ("calibrated", "calibrated draws")):
        own = sorted((r["size"], 100 * r["covered"], 164.5 * r["standard_error"]) for r in rows if r["way"] == way)
        axis.errorbar(*zip(*own, strict=True), fmt="o-", capsize=3, label=label)
    axis.axhline(90, color="0.4", linewidth=0.8)
    axis.set(xscale="log", xlabel="training structures", ylabel="inside 90 % intervals, %", ylim=(0, 100))
    sizes = sorted({r["size"] for r in rows})
    axis.set_xticks(sizes, [str(n) for n in sizes])
    axis.minorticks_off()
    axis.legend(fontsize=8)
    return figure


def pdf(name: str) -> None:
    """The PDF of a filled text, by pandoc and typst."""
    import pypandoc
    import typst

    text = (HERE / f"{name}.md").read_text()
    numbers = {label: str(k) for k, label in enumerate(re.findall(r"\\label\{(fig:\w+)\}", text), 1)}
    text = re.sub(r"\\autoref\{(fig:\w+)\}", lambda found: f"Figure {numbers[found[1]]}", text)
    text = re.sub(r"\\label\{fig:\w+\}", "", text)
    arguments = ["--standalone", "--citeproc", f"--bibliography={HERE / 'paper.bib'}", f"--resource-path={HERE}"]
    arguments += ["--variable=papersize:a4", "--variable=fontsize:10pt", "--metadata=author:The kernpot developers"]
    source = HERE / f"{name}.typ"
    pypandoc.convert_text(text, "typst", format="markdown", outputfile=str(source), extra_args=arguments)
    try:
        typst.compile(str(source), output=str(HERE / f"{name}.pdf"))
    finally:
        source.unlink()


def main() -> int:
    """Write, or check."""
    texts = {HERE / f"{name}.md": filled((HERE / f"{name}.in.md").read_text()) for name in TEXTS}
    if "--check" in sys.argv:
        stale = [path.name for path, text in texts.items() if not path.is_file() or path.read_text() != text]
        for name in stale:
            print(f"paper/{name} does not say what was measured; run python paper/build.py")
        return 1 if stale else 0
    for path, text in texts.items():
        path.write_text(text)
    draw()
    if "--pdf" in sys.argv:
        for name in TEXTS:
            pdf(name)
            print(f"paper/{name}.pdf")
    return 0


if __name__ == "__main__":
    sys.exit(main())

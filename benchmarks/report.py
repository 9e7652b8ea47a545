"""Write docs/benchmarks.md and the measured parts of README.md and of other pages from the stored measurements.

    python -m benchmarks report            # write
    python -m benchmarks report --check    # exit 1 when a text disagrees with the JSON it comes from

No number is typed into a text by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from benchmarks.accuracy import few_tables, ideas
from benchmarks.accuracy import tables as of_accuracy
from benchmarks.engines import cluster_tables, lammps_tables, metatomic_tables, path_tables
from benchmarks.error_bars import gate_tables
from benchmarks.error_bars import tables as of_error_bars
from benchmarks.inputs import tables as of_inputs
from benchmarks.learning import tables as of_learning
from benchmarks.networks import compare_tables
from benchmarks.networks import tables as of_networks
from benchmarks.shared.command_line import Parser
from benchmarks.shared.results import ROOT, read_result
from benchmarks.speed import size_tables
from benchmarks.speed import tables as of_speed
from kernpot.gp.learning.hyperparameters import SEARCHED

PAGES = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            "contributing",
            "speed",
            "uncertainty",
            "gate",
            "learning",
            "checks",
            "compare",
            "networks",
            "lammps",
            "cluster",
            "metatomic",
            "path-integrals",
        )
    ),
)
SECTIONS: dict[str, Callable[[], str]] = {"summary": of_accuracy.summary}
for module in (
    of_speed,
    size_tables,
    of_error_bars,
    gate_tables,
    of_learning,
    of_inputs,
    compare_tables,
    of_networks,
    lammps_tables,
    cluster_tables,
    metatomic_tables,
    path_tables,
):
    SECTIONS |= module.SECTIONS
END = "<!-- end of measured -->"  # of a part that begins with <!-- measured: NAME -->


def page() -> str:
    """The whole of docs/benchmarks.md."""
    machine = read_result("accuracy/accuracy_Si")["machine"]
    parts = [
        "# Benchmarks",
        "Every number on this page is written by `python -m benchmarks report` from the JSON files in "
        "`benchmarks/*/results/`, which the commands below produce. Measured on one core of a 2-core "
        f"{machine['machine']} machine, Python {machine['python']}, torch {machine['torch']}, "
        f"DScribe {machine['dscribe']}. Speed and memory have a page of their own: [How fast, and why](speed.md).",
        "## Accuracy on published splits",
        "`python -m benchmarks accuracy settings SET` chooses descriptor and power on the training part by "
        "closed-form leave-one-structure-out errors at a fixed number of inducing environments (those of "
        "Si and Mo were written before noise was scaled by such errors); `python -m benchmarks accuracy accuracy SET` "
        "fits once, with as many inducing environments as the fit takes of itself where the power is two, and opens "
        "the test part.",
        of_accuracy.accuracy(),
        "`python -m benchmarks accuracy defaults SET` fits with no settings at all, `SparseGPPotential()`; beside "
        "those above. The chosen fit of 3BPA, those of acetylacetone, and the default one of NbMoTaW, are from before "
        "the scale of the noise was held against structures spread over the file: it was held against the first 4000 "
        "labels. Those of ethanol and NbMoTaW are from before the search among all quadratic forms began with less "
        "noise where errors are up to 10 % larger. The default one of 3BPA had a prior on the amplitudes of elements "
        "of 0.3 in their logarithms (it is 1 now).",
        of_accuracy.defaults(),
        "How many inducing environments were taken, and why no more. Sets that are not here were fitted with a number "
        "from the settings: their power is not two. Acetylacetone was measured before fits sought their mean among all "
        "quadratic forms.",
        of_accuracy.sizes(),
        "Published errors are those tabulated with the ACEpotentials.jl paper, J. Chem. Phys. 159, 164101 (2023). The "
        "3BPA test frames are a subset cut from a published mixed-temperature file, not the published test set. The "
        "intervals were calibrated on leave-one-structure-out errors of the training part alone.",
        of_accuracy.groups(),
        "## Learning curves",
        "`python -m benchmarks accuracy curves SET`: no settings at all, nested random subsets of the training parts. "
        "The networks of the figure are those of `python -m benchmarks networks compare`.",
        of_accuracy.curves(),
        "![Test errors against the number of training structures](figures/curves.png)",
        "## What each idea gives alone",
        "`python -m benchmarks accuracy ideas SET`: mean absolute errors on structures left out of at most "
        f"{ideas.SAMPLE} structures of the training part, with 1000 inducing environments and one setting changed at a "
        "time. Molecules begin at a cutoff of 4.5 A, Gaussians 0.4 A wide, crystals at 5 A and 0.5 A.",
        of_accuracy.ideas(),
        "## All quadratic forms",
        "What the mean among all quadratic forms gives beyond inducing environments (fits that find their number "
        "themselves, zeta 2; of the fits above): errors on structures left out of the training part, before and after.",
        of_accuracy.whole_space(),
        "## Hyperparameters from fewer inducing environments",
        "`python -m benchmarks accuracy searched SET`: the evidence is searched with the leading inducing environments "
        f"(a fit takes {SEARCHED}), the model has all; at most {ideas.SAMPLE} structures of the training part.",
        of_accuracy.searched(),
        "## Few structures",
        "`python -m benchmarks accuracy few_structures`: where the structures hold fewer environments than "
        "`n_inducing` (1000 here), those of slightly displaced copies become inducing too. Without / with them, means "
        "of two random choices of structures; everything, the 20 held-out structures included, comes from training "
        "parts.",
        few_tables.few(),
        "## Derived properties",
        "`python -m benchmarks error_bars derived` and "
        "`python -m benchmarks error_bars derived --sets Nb Ta W`: how many 90 % intervals of elastic "
        "constants, energies of strained and of defective cells, and differences along MD hold the DFT value, "
        "for models of 10 to 80 structures, five random training sets of each size. DFT values come from frames of the "
        "training parts that were left out. The default was chosen on Si and Mo; Nb, Ta and W were looked at after.",
        of_error_bars.derived(),
        "## Derivatives, conservation, smoothness",
        "`python -m benchmarks accuracy physics`",
        of_accuracy.physics(),
    ]
    return "\n\n".join(parts) + "\n"


def fill(text: str) -> str:
    """A text with its measured parts renewed.

    Raises
    ------
    SystemExit
        For a part that nobody measures.
    """

    def renewed(found: re.Match[str]) -> str:
        name = found[1]
        if name not in SECTIONS:
            raise SystemExit(f"expected one of {', '.join(SECTIONS)} after 'measured:', got {name}")
        return f"<!-- measured: {name} -->\n\n{SECTIONS[name]()}\n\n{END}"

    return re.sub(rf"<!-- measured: (\w+) -->.*?{re.escape(END)}", renewed, text, flags=re.S)


def main(arguments: Sequence[str]) -> int:
    """Write, or check."""
    parser = Parser("report", __doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 when a text does not say what was measured")
    options = parser.parse_args(arguments)
    targets = {ROOT / name: fill((ROOT / name).read_text()) for name in PAGES}
    targets[ROOT / "docs" / "benchmarks.md"] = page()
    if options.check:
        stale = [str(p.relative_to(ROOT)) for p, text in targets.items() if p.read_text() != text]
        for name in stale:
            print(f"{name} does not say what was measured; run python -m benchmarks report")
        return 1 if stale else 0
    for p, text in targets.items():
        p.write_text(text)
    return 0

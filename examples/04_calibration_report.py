"""Are the error bars honest? A calibration report, where the data are and beyond them.

    python examples/04_calibration_report.py        # half a minute

Solid CO2 (GFN1-xTB) is learnt from its mild part: 300 K and strained cells. It is then judged on mild structures that
it has not seen, and on a run at 900 K, which is nothing like them. Coverage should be that of the dashed line.
"""

from __future__ import annotations

from pathlib import Path

from kernpot import SparseGPPotential, read_structures
from kernpot.report.calibration_plots import group_plot
from kernpot.report.findings import findings
from kernpot.uncertainty import evaluate

DATA = Path(__file__).parent / "data" / "dry_ice_gfn1.xyz.gz"

# %% Learn what is mild
# The run at 900 K stays unseen as a whole.

frames = read_structures(DATA)
train = [a for a in frames if a.info["split"] == "train" and a.info["config_type"] != "MD900"]
unseen = [a for a in frames if a.info["split"] == "test" or a.info["config_type"] == "MD900"]
gp = SparseGPPotential(n_inducing=300, random_state=0).fit(train)

# %% Coverage, group by group
# Intervals of 50, 90 and 95 % should hold that part of the labels, in every group.

result = evaluate(gp, unseen)
print("label    group     mean abs. error      50 %  90 %  95 % intervals hold")
for row in result.metrics:
    held = "  ".join(f"{100 * row.coverage[level]:3.0f}" for level in (0.5, 0.9, 0.95))
    print(f"{row.kind:8} {row.config_type:8} {row.mae:8.3f} {row.unit:10} {held:>22}")
print()

# %% The same in words
# Each sentence says how sure it is, given the number of structures; the picture shows coverage against level.

for finding in findings(result):
    print(f"{finding.verdict:8} {finding.text}")
group_plot(result).savefig("04_calibration_report.png", dpi=130)

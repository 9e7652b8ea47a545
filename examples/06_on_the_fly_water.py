"""From one structure to a potential: three water molecules learn from GFN2-xTB while they move.

    python examples/06_on_the_fly_water.py        # a minute; needs pip install 'kernpot[oracles]'

The simulation stops where a force becomes too uncertain, asks GFN2-xTB, learns, and goes on. Every fiftieth step is
labelled as well, as an audit that is never learnt: it tells whether the error bars were right where nobody asked.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.optimize import BFGS
from dscribe.descriptors import SOAP
from tblite.ase import TBLite

from kernpot import SparseGPPotential
from kernpot.dynamics import Bootstrap, OnTheFlyLearner, Schedule, Stage, UncertaintyGate
from kernpot.dynamics.oracles import CalculatorOracle, calculator_factory

THRESHOLD = 0.3  # eV/A

# %% Where it begins
# Three water molecules in a ring, relaxed by the code that will be asked: the only structure there is.


def trimer() -> Atoms:
    """Three molecules, relaxed."""
    atoms = Atoms()
    for angle in (0, 120, 240):
        water = molecule("H2O")
        water.rotate(angle, "z")
        water.translate([1.7 * np.cos(np.radians(angle)), 1.7 * np.sin(np.radians(angle)), 0])
        atoms += water
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    BFGS(atoms, logfile=None).run(fmax=0.05, steps=200)
    atoms.calc = None
    return atoms


# %% Learning while it moves
# A potential without data, an oracle, a schedule of dynamics, and a gate that stops where a force is too uncertain.
# Forty rattled copies of the start come first; then the run asks where the gate fires.

weighting = {"function": "poly", "r0": 4.5, "c": 1.0, "m": 1}
soap = SOAP(species=["H", "O"], r_cut=4.5, n_max=6, l_max=5, sigma=0.3, periodic=True, weighting=weighting)
with tempfile.TemporaryDirectory() as name:
    learner = OnTheFlyLearner(
        SparseGPPotential(soap, n_inducing=400, random_state=0),
        CalculatorOracle(calculator_factory("tblite", method="GFN2-xTB", accuracy=0.01), isolate=False),
        Schedule([Stage("langevin", 3000, (100.0, 300.0), timestep=0.5, friction=10.0)]),
        lambda potential: UncertaintyGate(potential, force_std=THRESHOLD, every=2),
        trimer(),
        Path(name) / "run",
        bootstrap=Bootstrap(number=40, rattle=0.12),
        audit_every=50,
        record_every=5,
        max_labels=250,
    )
    outcome = learner.run()
    lines = (Path(name) / "run" / "events.jsonl").read_text().splitlines()

# %% What it asked for, and whether it was right
# All that happened is in a file of events. Structures of the audit were labelled and never learnt.

events = [json.loads(line) for line in lines]
steps = [e for e in events if e["event"] == "step"]
labels = [e for e in events if e["event"] == "label"]
queries = [e for e in labels if e["purpose"] == "query"]
audits = [e for e in labels if e["purpose"] == "audit"]
print(f"{steps[-1]['step']} steps, {outcome.labels} labels learnt, {outcome.audited} audited")
for what, part in (("first half", audits[: len(audits) // 2]), ("second half", audits[len(audits) // 2 :])):
    inside = np.mean([e["inside_90"] for e in part])
    worst = max(e["max_force_error"] for e in part)
    print(f"audit, {what}: 90 % intervals hold {100 * inside:.0f} %, largest error {worst:.2f} eV/A")

# %% Uncertainty, true error, labels
# A label is asked for where the standard deviation of a force comes up to the threshold.

figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 6), sharex=True, layout="constrained")
top.plot([e["time_fs"] for e in steps], [e["max_force_std"] for e in steps], ".", ms=3, label="largest force std")
top.axhline(THRESHOLD, color="0.3", linestyle="--", label="threshold")
top.plot([e["time_fs"] for e in audits], [e["max_force_error"] for e in audits], "s", ms=4, label="audit: true error")
top.set(ylabel="eV/Å", yscale="log", title="three water molecules, 100 K to 300 K")
top.legend(ncol=3)
bottom.step([e["time_fs"] for e in queries], np.arange(1, len(queries) + 1), where="post", color="C3")
bottom.set(xlabel="simulated time, fs", ylabel="labels asked for")
figure.savefig("06_on_the_fly_water.png", dpi=130)

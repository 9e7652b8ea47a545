"""A potential in a file that needs no kernpot: written for metatomic, read where kernpot cannot be imported.

    python examples/14_metatomic_export.py        # a minute

A potential of dry ice learns mild structures alone. The file it is written to is then read by another process, which
heats a crystal with metatomic's calculator and reports, step by step, the standard deviation of the energy: from the
sixteen draws in the file, and in closed form. The last line compares every
number with kernpot's own.

Needs metatomic: ``pip install 'kernpot[metatomic]'``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase.io import read

from kernpot import SparseGPPotential, read_structures
from kernpot.engines.metatomic import write

DATA = Path(__file__).parent / "data" / "dry_ice_gfn1.xyz.gz"

# %% What another process does
# It has no kernpot: the file brings everything. It heats a crystal with metatomic's calculator and asks for energies
# of the draws in the file and for the standard deviation in closed form.

ELSEWHERE = """
import json, sys, warnings
sys.modules["kernpot"] = None  # as if it were not installed
warnings.simplefilter("ignore")
import numpy as np
from ase import units
from ase.io import Trajectory, read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from metatomic.torch import ModelOutput
from metatomic_ase import MetatomicCalculator

atoms, told = read("start.xyz"), []
atoms.calc = MetatomicCalculator("dry_ice.pt", uncertainty_threshold=None)
outputs = {n: ModelOutput(unit="eV", sample_kind="system") for n in ("energy_ensemble", "energy_uncertainty")}
rng = np.random.default_rng(0)
with Trajectory("heated.traj", "w") as frames:
    for temperature in (100, 300, 600, 900):
        MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
        Langevin(atoms, units.fs, temperature_K=temperature, friction=0.02 / units.fs, rng=rng).run(100)
        found = atoms.calc.run_model(atoms, outputs)
        values = {n: found[n].block().values.detach().numpy().ravel().tolist() for n in outputs}
        told.append({"temperature": temperature, "energy": float(atoms.get_potential_energy()), **values})
        frames.write(atoms)
json.dump(told, open("told.json", "w"))
"""

# %% Fit what is mild
# The potential knows 300 K and strained cells.

structures = [a for a in read_structures(DATA) if len(a) > 1]
mild = [a for a in structures if a.info["split"] == "train" and a.info["config_type"] != "MD900"]
gp = SparseGPPotential(n_inducing=300, random_state=0).fit(mild)

# %% Write, and read elsewhere
# One call writes the file; the process above reads it.

start = structures[0].copy()
start.info.clear()
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    write(gp, folder / "dry_ice.pt", n_draws=16, random_state=0)
    print(f"dry_ice.pt: {(folder / 'dry_ice.pt').stat().st_size / 1e6:.0f} MB")
    start.write(folder / "start.xyz")
    subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=folder, check=True)
    told = json.loads((folder / "told.json").read_text())
    frames = read(folder / "heated.traj", ":")

# %% What the file says, and what kernpot says
# The spread of sixteen draws is an estimate of the standard deviation in closed form; both grow where the potential no
# longer knows.

largest, stds = 0.0, []
draws = gp.sample_potentials(16, random_state=0)
print("\n   T (K)   energy (eV)   std of 16 draws (eV)   std in closed form (eV)")
for row, atoms in zip(told, frames, strict=True):
    std = np.std(row["energy_ensemble"], ddof=1)
    (closed,) = row["energy_uncertainty"]
    stds.append((std, closed))
    print(f"{row['temperature']:8}   {row['energy']:11.4f}   {std:20.4f}   {closed:23.4f}")
    own = [gp.mean(atoms).energy, gp.energy_std(atoms).std, *draws.evaluate(atoms).energies]
    largest = max(largest, float(np.abs(np.subtract(own, [row["energy"], closed, *row["energy_ensemble"]])).max()))
print(f"\nlargest difference to kernpot's own numbers: {largest:.0e} eV")

# %% Draws and standard deviations
# Left, the draws about their mean on the frames of the heated crystal; right, the two standard deviations.

temperatures = [row["temperature"] for row in told]
mean = np.array([row["energy"] for row in told])
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
ensemble = np.array([row["energy_ensemble"] for row in told]) - mean[:, None]
left.plot(temperatures, 1e3 * ensemble, ".-", color="0.7", linewidth=0.7)
left.axhline(0, color="C0", label="mean")
left.set(xlabel="temperature, K", ylabel="energy of a draw less the mean, meV", title="sixteen draws in the file")
left.legend()
right.plot(temperatures, 1e3 * np.array(stds), "o-", label=["of 16 draws", "in closed form"])
right.set(xlabel="temperature, K", ylabel="std of the energy, meV", title="dry ice, heated")
right.legend()
figure.savefig("14_metatomic_export.png", dpi=130)

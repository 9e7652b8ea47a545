"""Deuterium in ethanol, at the hydroxyl or at the methyl group? Path integrals with i-PI, with intervals.

    python -m benchmarks engines path_integrals           # about 20 minutes on two cores
    python -m benchmarks engines path_integrals --draw    # only the figure, from what is stored

A potential learns GFN2-xTB (tblite) from the carried data and from beads of its own path integrals. i-PI then
samples ring polymers at 300 K with one atom at three masses. With the centroid-virial kinetic energy T of that atom

    T = 3/2 kT + 1/2 < (x - x_centroid) . dV/dx >,       F(D) - F(H) = - integral dm <T>(m) / m = 2 integral <T> dl / l,

l = m^(-1/2) (Vanicek and Miller, J. Chem. Phys. 127, 114309 (2007); Ceriotti and Markland, J. Chem. Phys. 138,
084112 (2013)): T / l hardly changes, so Simpson's rule on three masses is enough. Error bars: blocks of the
trajectories for sampling; for the potential, every draw of its posterior, with its own forces in T and its own weight
of every ring polymer by the cumulant expansion that ``i-pi-committee-reweight`` uses. The same with GFN2-xTB itself in
place of a draw tells whether the interval holds.

Writes results/path_integrals.json and docs/figures/path_integrals.png. Needs ``pip install 'kernpot[ipi,oracles]'``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from dscribe.descriptors import SOAP
from numpy.typing import NDArray
from tblite.ase import TBLite

from benchmarks.engines.path_tables import path_integrals
from benchmarks.shared.command_line import Parser
from benchmarks.shared.results import figure_path, read_result, write_result
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.stand_ins import CARRIED
from kernpot import SparseGPPotential, read_structures
from kernpot.engines.ipi import PES

TEMPERATURE, BEADS, TIMESTEP, STRIDE, DRAWS, BLOCKS = 300.0, 32, 0.5, 20, 16, 8
FIRST_STEPS = 200  # at least, of the run whose beads are learnt
STEPS, EVERY = 12_000, 6  # of each run; draws and reference are asked at every sixth frame written
N_INDUCING = 800
CARRIED_EVERY = 1  # of the carried training structures
BEADS_LABELLED, BEADS_LEARNT = 160, 120
SMOKE = Smoke(
    {"STEPS": 10, "FIRST_STEPS": 10, "STRIDE": 1, "EVERY": 2, "BEADS": 4, "DRAWS": 2, "N_INDUCING": 40}
    | {"CARRIED_EVERY": 30, "BEADS_LABELLED": 4, "BEADS_LEARNT": 2}
)
KT = units.kB * TEMPERATURE
H, D = 1.00784, 2.01410  # u
# Evenly spaced in m^(-1/2), for Simpson's rule.
MASSES = (H, float(np.mean([H**-0.5, D**-0.5]) ** -2), D)
INPUT = """<simulation verbosity='low' safe_stride='1000000'>
<output prefix='run'><trajectory stride='{stride}' filename='pos'> positions{{angstrom}} </trajectory></output>
<total_steps>{steps}</total_steps><prng><seed>{seed}</seed></prng>
<ffdirect name='kp'><pes>custom</pes><pes_path>{pes}</pes_path>
<parameters>{{model: model.kernpot, template: start.xyz}}</parameters><batch_size>{beads}</batch_size></ffdirect>
<system><initialize nbeads='{beads}'><file mode='ase'>start.xyz</file>
<masses mode='manual' units='dalton'>{masses}</masses><velocities mode='thermal' units='kelvin'>300</velocities>
</initialize><forces><force forcefield='kp'/></forces>
<motion mode='dynamics'><fixcom>True</fixcom><dynamics mode='nvt'><timestep units='femtosecond'>{timestep}</timestep>
<thermostat mode='pile_g'><tau units='femtosecond'>50</tau></thermostat></dynamics></motion>
<ensemble><temperature units='kelvin'>{temperature}</temperature></ensemble></system></simulation>"""
FloatArray = NDArray[np.float64]
# Energies (K, n_beads) and forces (K, n_beads, n_atoms, 3) of the beads under K potentials.
Surfaces = Callable[[list[Atoms]], tuple[FloatArray, FloatArray]]


def gfn2() -> TBLite:
    """The reference; accuracy 0.01 as for the carried data."""
    return TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0, cache_api=False)


def labelled(atoms: Atoms) -> Atoms:
    """With the reference's energy and forces."""
    copy = atoms.copy()
    copy.calc = gfn2()
    values = {"energy": copy.get_potential_energy(), "forces": copy.get_forces()}
    copy.calc = SinglePointCalculator(copy, **values)
    return copy


def fit(structures: list[Atoms]) -> SparseGPPotential:
    """A potential whose mean is cheap: few features."""
    weighting = {"function": "poly", "r0": 4.0, "c": 1.0, "m": 1}
    compression = {"mode": "mu1nu1", "species_weighting": None}
    arguments: dict[str, Any] = {"r_cut": 4.0, "n_max": 5, "l_max": 4, "sigma": 0.35, "periodic": True}
    soap = SOAP(species=["C", "H", "O"], weighting=weighting, compression=compression, **arguments)
    return SparseGPPotential(soap, n_inducing=N_INDUCING, random_state=0).fit(structures)


def sample(gp: SparseGPPotential, start: Atoms, masses: list[float], steps: int, seed: int) -> FloatArray:
    """Positions (n_frames, n_beads, n_atoms, 3) that i-PI samples."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gp.save(folder / "model.kernpot")
        write(folder / "start.xyz", start)
        settings = {"stride": STRIDE, "steps": steps, "seed": seed, "pes": PES, "beads": BEADS, "timestep": TIMESTEP}
        text = INPUT.format(**settings, masses=masses, temperature=TEMPERATURE)
        (folder / "input.xml").write_text(text)
        program = str(Path(sys.executable).with_name("i-pi"))
        done = subprocess.run([program, "input.xml"], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
        beads = []
        for path in sorted(folder.glob("run.pos_*.xyz")):
            lines = path.read_text().splitlines()
            n = int(lines[0])
            rows = [line.split()[1:] for k, line in enumerate(lines) if k % (n + 2) > 1]
            beads.append(np.array(rows, dtype=np.float64).reshape(-1, n, 3))
    frames = np.stack(beads, axis=1)
    return frames[len(frames) // 10 :]  # the rest is for forgetting the start


def kinetic_energies(frames: FloatArray, start: Atoms, surfaces: Surfaces) -> tuple[FloatArray, FloatArray]:
    """Centroid-virial kinetic energies (n_frames, K, n_atoms) and potentials averaged over beads (n_frames, K), eV."""
    found, potentials = [], []
    for beads in frames:
        energies, forces = surfaces([Atoms(start.numbers, x) for x in beads])
        apart = beads - beads.mean(0)
        found.append(1.5 * KT - 0.5 * np.einsum("bix,kbix->ki", apart, forces) / len(beads))
        potentials.append(energies.mean(1))
    return np.array(found), np.array(potentials)


def mean_surface(gp: SparseGPPotential) -> Surfaces:
    """The potential's mean."""

    def evaluate(beads: list[Atoms]) -> tuple[FloatArray, FloatArray]:
        answers = [gp.mean(a) for a in beads]
        return np.array([[m.energy for m in answers]]), np.array([[m.forces for m in answers]])

    return evaluate


def drawn_surfaces(gp: SparseGPPotential) -> Surfaces:
    """Draws about the mean."""
    draws = gp.sample_potentials(DRAWS, random_state=0)

    def evaluate(beads: list[Atoms]) -> tuple[FloatArray, FloatArray]:
        answers = [draws.evaluate(a) for a in beads]
        return np.array([d.energies for d in answers]).T, np.array([d.forces for d in answers]).swapaxes(0, 1)

    return evaluate


def reference_surface(beads: list[Atoms]) -> tuple[FloatArray, FloatArray]:
    """GFN2-xTB itself."""
    answers = [labelled(a) for a in beads]
    return np.array([[a.get_potential_energy() for a in answers]]), np.array([[a.get_forces() for a in answers]])


def reweighted(observable: FloatArray, potential: FloatArray, driving: FloatArray) -> FloatArray:
    """Averages under other potentials by the cumulant expansion: ``<o> - cov(o, h)``, ``h = (V - V_driving) / kT``.

    Observable (n_frames, K), potential (n_frames, K), driving (n_frames, 1); returns (K,).
    """
    h = (potential - driving) / KT
    averages: FloatArray = observable.mean(0) - (observable * h).mean(0) + observable.mean(0) * h.mean(0)
    return averages


def free_energy(kinetic: list[FloatArray]) -> FloatArray:
    """``F(D) - F(H)`` by Simpson's rule in ``l = m^(-1/2)`` from averages at the three masses."""
    roots = np.array(MASSES) ** -0.5
    integrand = [2.0 * t / root for t, root in zip(kinetic, roots, strict=True)]
    change: FloatArray = (roots[2] - roots[0]) / 6.0 * (integrand[0] + 4.0 * integrand[1] + integrand[2])
    return change


def study(steps: int, every: int) -> dict[str, Any]:
    """Everything that is measured; draws and reference are evaluated on every so many of the frames written."""
    begun = time.perf_counter()
    train = [a for a in read_structures(CARRIED / "ethanol_gfn2.xyz.gz") if a.info["split"] == "train"][::CARRIED_EVERY]
    start = next(a for a in train if len(a) > 1).copy()
    start.calc, start.info = None, {}
    start.set_cell([20.0] * 3)  # i-PI wants one; the template's pbc tells the potential that it means nothing
    start.pbc = False
    hydrogens = np.flatnonzero(start.numbers == 1)
    oxygen = int(np.flatnonzero(start.numbers == 8)[0])
    carbons = np.flatnonzero(start.numbers == 6)
    hydroxyl = int(hydrogens[np.argmin(start.get_distances(oxygen, hydrogens))])
    methyl_carbon = int(carbons[np.argmax(start.get_distances(oxygen, carbons))])
    methyl = hydrogens[np.argsort(start.get_distances(methyl_carbon, hydrogens))[:3]]
    plain = start.get_masses()
    plain[hydrogens] = H

    first = fit(train)
    beads = sample(first, start, plain.tolist(), max(steps // 4, FIRST_STEPS), seed=1)
    chosen = np.random.default_rng(0).permutation(beads.shape[0] * beads.shape[1])[:BEADS_LABELLED]
    new = [labelled(Atoms(start.numbers, x)) for x in beads.reshape(-1, len(start), 3)[chosen]]
    gp = fit([*train, *new[:BEADS_LEARNT]])
    errors = {name: force_rmse(p, new[BEADS_LEARNT:]) for name, p in (("before", first), ("after", gp))}

    sites = {"hydroxyl": [hydroxyl], "methyl": [int(methyl[0])]}
    runs = {"H": (plain, 2)}
    for site, atoms in sites.items():
        for k, mass in enumerate(MASSES[1:], 1):
            masses = plain.copy()
            masses[atoms] = mass
            runs[f"{site} {k}"] = (masses, 10 * k + len(site))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # i-PI runs in processes of its own
        jobs = {name: pool.submit(sample, gp, start, m.tolist(), steps, seed) for name, (m, seed) in runs.items()}
        frames = {name: job.result() for name, job in jobs.items()}
    averaged = {name: averages(x, start, gp, every) for name, x in frames.items()}

    result: dict[str, Any] = {"free_energy": {}, "kinetic": {}}
    for site, own in (("hydroxyl", [hydroxyl]), ("methyl", methyl.tolist())):
        series = [averaged["H"], averaged[f"{site} 1"], averaged[f"{site} 2"]]
        atoms = [own, sites[site], sites[site]]  # before it is substituted, all atoms of the site count
        rows = [summary(a, at) for a, at in zip(series, atoms, strict=True)]
        result["kinetic"][site] = {"H": rows[0]["told"], "D": rows[2]["told"]}
        blocks = free_energy([r["blocks"] for r in rows])
        result["free_energy"][site] = {
            "mean": float(free_energy([r["mean"] for r in rows])),
            "blocks": blocks.tolist(),
            "draws": free_energy([r["draws"] for r in rows]).tolist(),
            "reference": float(free_energy([r["reference"] for r in rows])),
        }
    a, b = (result["free_energy"][site] for site in ("hydroxyl", "methyl"))
    sampling = float(np.std(np.subtract(a["blocks"], b["blocks"]), ddof=1) / np.sqrt(BLOCKS))
    potential = float(np.std(np.subtract(a["draws"], b["draws"]), ddof=1))
    difference = a["mean"] - b["mean"]
    std = float(np.hypot(sampling, potential))
    result["preference"] = {
        "mean": difference,
        "sampling_std": sampling,
        "potential_std": potential,
        "interval": [difference - 1.645 * std, difference + 1.645 * std],
        "reference": a["reference"] - b["reference"],
    }
    result["force_rmse_of_beads"] = errors
    result["settings"] = {
        "steps": steps,
        "beads": BEADS,
        "timestep_fs": TIMESTEP,
        "temperature_K": TEMPERATURE,
        "draws": DRAWS,
        "frames": {name: len(x) for name, x in frames.items()},
        "seconds": time.perf_counter() - begun,
        "cores": os.cpu_count(),
    }
    return result


def force_rmse(gp: SparseGPPotential, structures: list[Atoms]) -> float:
    """Root mean square error of force components, eV/A."""
    return float(np.sqrt(np.mean([np.mean((gp.mean(a).forces - a.get_forces()) ** 2) for a in structures])))


def averages(frames: FloatArray, start: Atoms, gp: SparseGPPotential, every: int) -> dict[str, Any]:
    """Kinetic energies under the mean for all frames; of draws and reference for some, with their potentials."""
    mean, driving = kinetic_energies(frames, start, mean_surface(gp))
    some = frames[::every]
    return {
        "mean": mean[:, 0],
        "driving": driving[::every],
        "draws": kinetic_energies(some, start, drawn_surfaces(gp)),
        "reference": kinetic_energies(some, start, reference_surface),
        "some": mean[::every, 0],
    }


def summary(found: dict[str, Any], atoms: list[int]) -> dict[str, Any]:
    """Averages over some equivalent atoms: of all frames, of blocks of them, under every draw and the reference.

    What other potentials change is computed on the frames where they were evaluated, and added to the mean of all.
    """
    series = found["mean"][:, atoms].mean(1)
    blocks = np.array([part.mean() for part in np.array_split(series, BLOCKS)])
    under = {}
    for name in ("draws", "reference"):
        kinetic, potential = found[name]
        changed = reweighted(kinetic[:, :, atoms].mean(2), potential, found["driving"])
        under[name] = series.mean() + changed - found["some"][:, atoms].mean()
    told = {
        "mean": float(series.mean()),
        "sampling_std": float(blocks.std(ddof=1) / np.sqrt(BLOCKS)),
        "potential_std": float(under["draws"].std(ddof=1)),
        "reference": float(under["reference"][0]),
    }
    return {
        "mean": series.mean(),
        "blocks": blocks,
        "draws": under["draws"],
        "reference": under["reference"][0],
        "told": told,
    }


def figure(r: dict[str, Any]) -> None:
    """Free energies under the mean, every draw, and the reference."""
    import matplotlib.pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for k, kinds in enumerate(r["kinetic"].values()):
        for shift, (isotope, t) in zip((-0.12, 0.12), kinds.items(), strict=True):
            std = np.hypot(t["sampling_std"], t["potential_std"])
            left.errorbar(k + shift, 1e3 * t["mean"], 1.645e3 * std, fmt="o", color="C0", capsize=3)
            left.plot(k + shift + 0.05, 1e3 * t["reference"], "x", color="C3")
            left.annotate(isotope, (k + shift, 1e3 * t["mean"]), xytext=(-18, -4), textcoords="offset points")
    left.text(0.3, 0.5, f"classical: {1e3 * 1.5 * KT:.1f} meV, below", transform=left.transAxes, color="0.4")
    left.set(xticks=[0, 1], xticklabels=list(r["kinetic"]), ylabel="kinetic energy, meV", xlim=(-0.5, 1.5))
    left.set_title("H and D in ethanol, 300 K", fontsize=11)
    a, b = (r["free_energy"][site] for site in ("hydroxyl", "methyl"))
    draws = 1e3 * np.subtract(a["draws"], b["draws"])
    p = r["preference"]
    right.plot(draws, np.linspace(0.1, 0.9, len(draws)), ".", color="0.6", label="draws")
    right.axvspan(*(1e3 * x for x in p["interval"]), color="C0", alpha=0.2, label="90 % interval")
    right.axvline(1e3 * p["mean"], color="C0", label="mean")
    right.axvline(1e3 * p["reference"], color="C3", linestyle="--", label="GFN2-xTB")
    right.margins(x=0.15)
    right.set(xlabel="free energy of D at the hydroxyl less methyl, meV", yticks=[], ylim=(0, 1.6))
    right.legend(frameon=False, loc="upper right", fontsize=9)
    right.set_title("Where deuterium goes", fontsize=11)
    fig.savefig(figure_path("path_integrals"), dpi=150)


def main(arguments: Sequence[str]) -> None:
    """Study and store, or draw what is stored."""
    parser = Parser("engines path_integrals", __doc__)
    parser.add_argument("--draw", action="store_true", help="only draw the figure of what is stored")
    if not parser.parse_args(arguments).draw:
        found = study(STEPS, EVERY)
        write_result("engines/path_integrals", found)
        print(path_integrals(found))
    figure(read_result("engines/path_integrals"))

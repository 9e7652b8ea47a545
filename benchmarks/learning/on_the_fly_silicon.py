"""Heat bulk silicon to 2000 K with density-functional theory that is only asked where the potential does not know.

    apt-get install --no-install-recommends quantum-espresso quantum-espresso-data   # Debian, Ubuntu: pw.x, 100 s
    python -m benchmarks learning on_the_fly_silicon silicon_run

Eight atoms, PBE, from the perfect crystal and nothing else: the learner labels eight random displacements and strains,
then heats the crystal from 300 K to 2000 K and holds it there. Interrupt it and start it again: it goes on. At the end
the final potential drives runs of its own at four temperatures, and frames of those, which it has never seen, are
computed with pw.x. Writes results/on_the_fly_silicon.json and docs/figures/learning_silicon.png.

DFT settings (`--converge` measures them again): forces of atoms displaced by 0.07 A per coordinate are within 2 % of
those with a denser mesh of k-points and a higher cutoff.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.langevin import Langevin
from matplotlib.figure import Figure

from benchmarks.learning.records import events, learning_time
from benchmarks.shared.command_line import Parser
from benchmarks.shared.results import figure_path, write_result
from benchmarks.shared.smoke import Smoke
from kernpot import SparseGPPotential, load
from kernpot.dynamics import Bootstrap, OnTheFlyLearner, Schedule, Stage, UncertaintyGate
from kernpot.dynamics.judgement import judge
from kernpot.dynamics.label_store import Entry, LabelStore
from kernpot.dynamics.oracles import CalculatorOracle, EspressoFactory, Labels
from kernpot.report.panels import COLOURS, STYLE

PSEUDO_FOLDERS = (Path("/usr/share/espresso/pseudo"), Path.home() / "pseudo")
PSEUDOPOTENTIAL = "Si.pbe-rrkj.UPF"
THRESHOLD = 0.15  # eV/A, std of a force component at which the gate stops
HOT = 2000.0  # K
FRESH_TEMPERATURES = (300.0, 900.0, 1500.0, 2000.0)
FRESH_FRAMES = 6  # of each temperature
SCHEDULE = Schedule(
    [
        Stage("langevin", 250, 300.0, timestep=2.0, friction=10.0),
        Stage("langevin", 2500, (300.0, HOT), timestep=2.0, friction=10.0),
        Stage("langevin", 1250, HOT, timestep=2.0, friction=10.0),
    ]
)
BOOTSTRAP = Bootstrap(number=8, rattle=0.12, strain=0.02)
SMOKE = Smoke(
    {"SCHEDULE": Schedule([Stage("langevin", 10, 300.0, timestep=2.0, friction=10.0)]), "FRESH_FRAMES": 1}
    | {"FRESH_TEMPERATURES": (300.0,), "BOOTSTRAP": Bootstrap(number=3, rattle=0.12, strain=0.02)},
    ("{folder}/run", "--max-labels", "5"),
)


def espresso(k: int = 3, cutoff: float = 16.0) -> EspressoFactory:
    """How pw.x computes; no symmetry, as displaced atoms have none, and the number of k-points must not jump."""
    folder = next((f for f in PSEUDO_FOLDERS if (f / PSEUDOPOTENTIAL).is_file()), PSEUDO_FOLDERS[0])
    return EspressoFactory(
        {"Si": PSEUDOPOTENTIAL},
        folder,
        {
            "ecutwfc": cutoff,
            "occupations": "smearing",
            "smearing": "mv",
            "degauss": 0.01,
            "nosym": True,
            "mixing_beta": 0.5,
            "conv_thr": 1e-8,
        },
        kpts=(k, k, k),
    )


def crystal() -> Atoms:
    """Diamond at the lattice constant of PBE."""
    return bulk("Si", "diamond", a=5.47, cubic=True)


def converge() -> list[dict[str, Any]]:
    """Forces and stress against cutoff and k-points."""
    atoms = crystal()
    atoms.rattle(0.07, seed=5)
    rows: list[dict[str, Any]] = []
    for k, cutoff in ((4, 24.0), (4, 16.0), (3, 24.0), (3, 16.0), (3, 12.0), (2, 16.0)):
        began = time.perf_counter()
        ((_, found),) = CalculatorOracle(espresso(k, cutoff)).answers([atoms])
        if not isinstance(found, Labels) or found.stress is None:
            raise SystemExit(f"k {k}, {cutoff} Ry: {found}")
        row = {"k": k, "cutoff_Ry": cutoff, "seconds": time.perf_counter() - began}
        best = rows[0] if rows else {"forces": found.forces, "stress": found.stress}
        row["rms_change_eV_A"] = float(np.sqrt(np.mean((found.forces - best["forces"]) ** 2)))
        row["stress_change_GPa"] = float(np.abs(found.stress - best["stress"]).max() / units.GPa)
        row["rms_force_eV_A"] = float(np.sqrt(np.mean(found.forces**2)))
        rows.append(row | {"forces": found.forces, "stress": found.stress})
        print({key: round(float(value), 4) for key, value in row.items()}, flush=True)
    return [{key: value for key, value in row.items() if key not in ("forces", "stress")} for row in rows]


def say(record: dict[str, Any]) -> None:
    """One line for each label, and for each 500 steps."""
    if record["event"] == "label":
        error = record.get("max_force_error")
        told = "" if error is None else f": largest error {error:.2f}, largest std {record['max_force_std']:.2f} eV/A"
        print(f"label {record['label']} ({record['purpose']}) at step {record['step']}{told}", flush=True)
    elif record["event"] == "step" and record["step"] % 500 == 0:
        print(f"step {record['step']}: {record['temperature']:.0f} K, std {record['max_force_std']:.2f}", flush=True)
    elif record["event"] == "end":
        print(f"{record['reason']}: {record['message']}", flush=True)


def fresh_frames(potential: SparseGPPotential) -> list[tuple[float, Atoms]]:
    """Frames of runs that the final potential drives, without a gate, 0.5 ps apart after 1 ps."""
    frames = []
    for temperature in FRESH_TEMPERATURES:
        rng = np.random.default_rng([7, int(temperature)])
        atoms = crystal()
        atoms.calc = potential.calculator()
        atoms.set_momenta(
            np.sqrt(atoms.get_masses() * units.kB * temperature)[:, None] * rng.standard_normal((len(atoms), 3))
        )
        dynamics = Langevin(
            atoms, 2 * units.fs, temperature_K=temperature, friction=0.01 / units.fs, rng=rng, fixcm=False
        )
        dynamics.run(250)
        for _ in range(FRESH_FRAMES):
            dynamics.run(250)
            frames.append((temperature, Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)))
    return frames


def check(potential: SparseGPPotential, oracle: CalculatorOracle, folder: Path) -> list[dict[str, Any]]:
    """Errors on fresh frames, computed once and kept."""
    store = LabelStore(folder / "fresh")
    (folder / "fresh").mkdir(exist_ok=True)
    rows = []
    for temperature, atoms in fresh_frames(potential):
        entry = store.find(atoms)
        if entry is None:
            began = time.perf_counter()
            ((_, answer),) = oracle.answers([atoms])
            entry = Entry(store.free(len(store) + 1), atoms, answer, time.perf_counter() - began)
            store.add(entry)
        if not isinstance(entry.answer, Labels):
            print(f"fresh frame at {temperature} K: {entry.answer}")
            continue
        judged = judge(potential.predict_full([atoms])[0], entry.answer, THRESHOLD)
        rows.append(judged | {"temperature": temperature, "rms_force": float(np.sqrt(np.mean(entry.answer.forces**2)))})
        print({key: round(float(value), 3) for key, value in rows[-1].items()}, flush=True)
    return rows


def plot(folder: Path) -> None:
    """Temperature, std, labels and true errors along the run."""
    steps, gates = events(folder, "step"), events(folder, "gate")
    labels = [r for r in events(folder, "label") if r.get("max_force_error") is not None]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 7.0), layout="constrained")
        hot, std, asked, error = figure.subplots(4, 1, sharex=True)
        time_ps = [r["time_fs"] / 1e3 for r in steps]
        hot.plot(time_ps, [r["temperature"] for r in steps], color=COLOURS[0], linewidth=0.8)
        hot.plot(time_ps, [r["target_temperature"] for r in steps], color="#333333")
        hot.set(ylabel="temperature, K")
        std.plot(time_ps, [r["max_force_std"] for r in steps], ".", ms=3, color=COLOURS[0])
        std.plot([r["time_fs"] / 1e3 for r in gates], [r["value"] for r in gates], "v", ms=4, color=COLOURS[1],
                 label="gate fired")  # fmt: skip
        std.axhline(THRESHOLD, color="#333333", linestyle="--", linewidth=0.9, label="threshold")
        std.set(ylabel="largest force std, eV/Å", yscale="log")
        std.legend()
        queries = [r for r in labels if r["purpose"] == "query"]
        asked.step([r["time_fs"] / 1e3 for r in queries], range(1, len(queries) + 1), where="post", color=COLOURS[1])
        asked.set(ylabel="queries so far")
        for k, purpose in enumerate(("query", "audit")):
            of = [r for r in labels if r["purpose"] == purpose]
            error.plot([r["time_fs"] / 1e3 for r in of], [r["max_force_error"] for r in of], "os"[k], ms=4,
                       color=COLOURS[2 * (1 - k) + k], label=f"{purpose}: largest force error against DFT")  # fmt: skip
        error.set(ylabel="true error, eV/Å", xlabel="simulated time, ps", yscale="log")
        error.legend()
        figure.savefig(figure_path("learning_silicon"), dpi=130)


def main(arguments: Sequence[str]) -> None:
    """Learn, check, plot."""
    parser = Parser("learning on_the_fly_silicon", __doc__)
    parser.add_argument("folder", type=Path, help="where the run is, or goes on")
    parser.add_argument("--converge", action="store_true", help="measure the convergence of the DFT settings, and stop")
    parser.add_argument("--max-labels", type=int, default=120, help="(default: %(default)s)")
    args = parser.parse_args(arguments)
    if shutil.which("pw.x") is None:
        raise SystemExit(
            "pw.x is not installed: apt-get install --no-install-recommends quantum-espresso quantum-espresso-data"
        )
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.converge:
        write_result("learning/silicon_dft", {"oracle": espresso().describe(), "rows": converge()})
        return
    factory = espresso()
    with CalculatorOracle(factory, timeout=300) as oracle:
        began = time.perf_counter()
        learner = OnTheFlyLearner(
            SparseGPPotential(n_inducing=400, random_state=0),
            oracle,
            SCHEDULE,
            lambda potential: UncertaintyGate(potential, force_std=THRESHOLD),
            crystal(),
            args.folder,
            bootstrap=BOOTSTRAP,
            audit_every=250,
            record_every=20,
            max_labels=args.max_labels,
            observe=say,
        )
        outcome = learner.run()
        wall = time.perf_counter() - began
        potential = load(args.folder / "model.kernpot")
        rows = check(potential, oracle, args.folder)
    labels = events(args.folder, "label")
    write_result(
        "learning/on_the_fly_silicon",
        {
            "oracle": factory.describe(),
            "threshold_eV_A": THRESHOLD,
            "outcome": {"reason": outcome.reason, "labels": outcome.labels, "audited": outcome.audited},
            "gate_fired": [{k: r[k] for k in ("step", "time_fs", "value")} for r in events(args.folder, "gate")],
            "labels": [{k: r.get(k) for k in _KEPT} for r in labels],
            "fresh": rows,
            "learning": learning_time(args.folder),
            "wall_s_of_the_last_start": wall,
        },
    )
    plot(args.folder)


_KEPT = ("label", "purpose", "step", "seconds", "max_force_std", "max_force_error", "rms_force_error", "inside_90")

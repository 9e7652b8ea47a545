"""Intervals of a metal's properties from small training sets and every default.

Do they hold the exact values?

    python -m benchmarks error_bars metals            # copper, six training sets, a few minutes on one core
    python -m benchmarks error_bars metals Ni Al --seeds 3   # others; what is stored for further elements stays

Labels come from ASE's effective-medium theory, which therefore knows every property exactly: volume, energy, bulk
modulus and its derivative, elastic constants at the potential's own cell, a vacancy, frequencies squared at three wave
vectors, the energies of hcp and bcc crystals over fcc, and a surface. A training set has eighty frames: strained and
rattled fcc, bcc and hcp cells, vacancies, slabs. Counted is how often 90 % intervals of draws of a
``SparseGPPotential()`` hold the exact number, property by property over training sets (``results/metals.json``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc100
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers, reference_states
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from numpy.typing import NDArray

from benchmarks.shared.command_line import Parser, known_ones
from benchmarks.shared.results import read_result, write_result, written
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import Clock
from kernpot import SparseGPPotential
from kernpot.errors import KernpotWarning
from kernpot.properties import ElasticConstants, EquationOfState, PhononModes, VacancyFormationEnergy, cubic_constants
from kernpot.uncertainty.propagation import propagate

ELEMENTS = ("Cu", "Al", "Ni", "Ag", "Au", "Pd", "Pt")
FRAMES = {"fcc": 24, "bcc": 14, "hcp": 14, "vacancy": 14, "slab": 14}
SEEDS, N_DRAWS, LEVEL = 6, 24, 0.9
N_INDUCING: int | None = None  # the default
STORED = "error_bars/metals"
Q_POINTS = [[0.5, 0.5, 0.0], [0.5, 0.5, 0.5], [0.375, 0.375, 0.75]]
SMOKE = Smoke({"FRAMES": {"fcc": 6, "bcc": 2, "hcp": 2}, "SEEDS": 1, "N_DRAWS": 3, "N_INDUCING": 30})

Property = Callable[[Any], NDArray[np.float64]]


class Exact:
    """EMT in the place of a potential."""

    def calculator(self) -> EMT:
        """A new one."""
        return EMT()

    def mean(self, atoms: Atoms) -> SimpleNamespace:
        """Its energy, forces, and for crystals stress."""
        work = atoms.copy()
        work.calc = EMT()
        stress = work.get_stress() if atoms.pbc.all() else None
        return SimpleNamespace(energy=work.get_potential_energy(), forces=work.get_forces(), stress=stress)


def lattice_constant(symbol: str) -> float:
    """Of the fcc crystal, as tables have it, A."""
    return float(reference_states[atomic_numbers[symbol]]["a"])


def training_set(symbol: str, seed: int) -> list[Atoms]:
    """Labelled frames of every kind."""
    rng, a = np.random.default_rng(seed), lattice_constant(symbol)
    short = a / np.sqrt(2)
    cubic = bulk(symbol, "fcc", a=a, cubic=True)
    starts = {
        "fcc": (cubic, cubic * (2, 1, 1)),
        "bcc": (bulk(symbol, "bcc", a=a * 2 ** (-1 / 3), cubic=True) * 2,),
        "hcp": (bulk(symbol, "hcp", a=short, c=short * np.sqrt(8 / 3)) * 2,),
        "vacancy": (cubic * 2,),
        "slab": (fcc100(symbol, (2, 2, 5), a=a, vacuum=8.0),),
    }
    out = []
    for kind, number in FRAMES.items():
        for k in range(number):
            atoms = starts[kind][k % len(starts[kind])].copy()
            if kind == "vacancy":
                del atoms[int(rng.integers(len(atoms)))]
            size = 0.015 if kind in ("vacancy", "slab") else 0.025
            strain = size * rng.normal(size=(3, 3))
            if kind == "slab":
                atoms.pbc = (True, True, False)
                strain[2] = strain[:, 2] = 0.0
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            atoms.rattle((0.0, 0.05, 0.1, 0.15)[k % 4] if kind == "fcc" else (0.03, 0.1)[k % 2], rng=rng)
            out.append(labelled(atoms, kind))
    return out


def labelled(atoms: Atoms, kind: str) -> Atoms:
    """With EMT's labels."""
    found = Exact().mean(atoms)
    labels = {"energy": found.energy, "forces": found.forces}
    labels |= {} if found.stress is None else {"stress": found.stress}
    atoms.calc, atoms.info["config_type"] = SinglePointCalculator(atoms, **labels), kind
    return atoms


def relaxed(atoms: Atoms, potential: Any, cell: bool = True, fmax: float = 0.003) -> Atoms:
    """A copy at rest."""
    atoms = atoms.copy()
    atoms.calc = potential.calculator()
    BFGS(FrechetCellFilter(atoms) if cell else atoms, logfile=None).run(fmax=fmax, steps=200)
    return atoms


def properties(symbol: str) -> dict[tuple[str, ...], Any]:
    """What is computed, by the names of its values."""
    a = lattice_constant(symbol)
    crystal, cubic, short = bulk(symbol, "fcc", a=a), bulk(symbol, "fcc", a=a, cubic=True), a / np.sqrt(2)
    hcp = bulk(symbol, "hcp", a=short, c=short * np.sqrt(8 / 3))
    bcc = bulk(symbol, "bcc", a=a * 2 ** (-1 / 3))

    def elastic(potential: Any) -> NDArray[np.float64]:
        rest = relaxed(crystal, potential, fmax=0.001)
        return np.asarray(cubic_constants(ElasticConstants(rest.copy())(potential)))

    def phases(potential: Any) -> NDArray[np.float64]:
        fcc, *others = (relaxed(x, potential) for x in (crystal, hcp, bcc))
        per_atom = [x.get_potential_energy() / len(x) for x in (fcc, *others)]
        return 1e3 * (np.array(per_atom[1:]) - per_atom[0])

    def surface(potential: Any) -> NDArray[np.float64]:
        rest = relaxed(cubic, potential)
        slab = fcc100(symbol, (1, 1, 7), a=rest.cell[0, 0], vacuum=8.0)
        slab.pbc = (True, True, False)
        slab = relaxed(slab, potential, cell=False)
        excess = slab.get_potential_energy() - 7 * rest.get_potential_energy() / 4
        return np.array([excess / (2 * slab.cell[0, 0] * slab.cell[1, 1])])

    modes = PhononModes(crystal, (2, 2, 2), q_points=Q_POINTS)
    return {
        ("V0", "E0", "B0", "B0'"): EquationOfState(crystal),
        ("C11", "C12", "C44"): elastic,
        ("vacancy",): VacancyFormationEnergy(cubic * 2, fmax=0.02),
        tuple(f"mode {k + 1}" for k in range(9)): modes,
        ("hcp - fcc", "bcc - fcc"): phases,
        ("surface",): surface,
    }


def measure(symbol: str, seed: int, exact: dict[tuple[str, ...], NDArray[np.float64]]) -> list[dict[str, Any]]:
    """One training set: where every property's interval is."""
    more = {} if N_INDUCING is None else {"n_inducing": N_INDUCING}
    gp = SparseGPPotential(random_state=seed, **more).fit(training_set(symbol, seed))
    draws = gp.sample_potentials(N_DRAWS, random_state=seed)
    rows = []
    for names, function in properties(symbol).items():
        found = propagate(function, draws)
        low, high = (np.ravel(x) for x in found.interval(LEVEL))
        mean, std = np.ravel(found.mean), np.ravel(found.std)
        for k, name in enumerate(names):
            true = float(exact[names][k])
            numbers = {"exact": true, "mean": float(mean[k]), "std": float(std[k])}
            rows.append({"seed": seed, "name": name, "inside": bool(low[k] <= true <= high[k]), **numbers})
    return rows


def summarise(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By property: how many intervals hold it, mean error, its rms, mean standard deviation."""
    out = []
    for name in dict.fromkeys(r["name"] for r in rows):
        own = [r for r in rows if r["name"] == name]
        error, std = (np.array([f(r) for r in own]) for f in (lambda r: r["mean"] - r["exact"], lambda r: r["std"]))
        numbers = {"exact": own[0]["exact"], "bias": float(error.mean()), "std": float(std.mean())}
        rms = float(np.sqrt(np.mean(error**2)))
        out.append({"name": name, "inside": sum(r["inside"] for r in own), "n": len(own), "rms_error": rms, **numbers})
    return out


def main(arguments: Sequence[str]) -> None:
    """Run all training sets of the elements asked for."""
    parser = Parser("error_bars metals", __doc__)
    parser.add_argument("elements", nargs="*", help=f"some of {', '.join(ELEMENTS)}; copper where none is given")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", KernpotWarning)
    known = dict(read_result(STORED)["elements"]) if written(STORED) is not None else {}
    for symbol in known_ones(ELEMENTS, options.elements) or ["Cu"]:
        clock = Clock()
        exact = {names: np.ravel(function(Exact())) for names, function in properties(symbol).items()}
        rows = [row for seed in range(options.seeds) for row in measure(symbol, seed, exact)]
        summary = summarise(rows)
        for s in summary:
            print(
                f"{symbol} {s['name']:10s} {s['inside']}/{s['n']}  exact {s['exact']:10.4f}  rms error "
                f"{s['rms_error']:.4f}  std {s['std']:.4f}"
            )
        share = sum(r["inside"] for r in rows) / len(rows)
        print(f"{symbol}: {100 * share:.0f} % of {len(rows)} intervals hold the exact value", flush=True)
        known[symbol] = {"seeds": options.seeds, "covered": share, "n": len(rows), "summary": summary, **clock.read()}
        write_result(STORED, {"level": LEVEL, "n_draws": N_DRAWS, "elements": known})

"""Splits whose test part is not like the training part: other phases, hotter, strained, other compositions.

Published and carried data alone (benchmarks/README.md says where from); the published test sets are not touched.
EMT splits are computed on the fly: noise-free, with elements that no data set here holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from benchmarks.shared.datasets import DATASETS, Setting
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.stand_ins import CARRIED
from kernpot import read_structures

SOLID = Setting(((5.0, 10, 6, 0.5, 1),), 2, 500, inducing="leverage", n_components=128)
ALLOY = Setting(((5.0, 6, 4, 0.5, 1),), 2, 600, "mu1nu1", "leverage")
MOLECULE = Setting(((4.5, 6, 5, 0.4, 1),), 2, 500, "mu1nu1", "leverage")
ELEMENTS = ("Si", "Mo")
CARRIED_EVERY, CARRIED_TESTS = 1, 40  # of the carried structures, and how many of a group are asked about
# Temperatures of EMT's metals, K: what is learnt, and what is hotter.
METALS = {"Cu": (300, (600, 900)), "Al": (150, (300, 600)), "Pt": (600, (1200, 1800))}
N_EMT = 30
SMOKE = Smoke(
    {"ELEMENTS": ("Si",), "CARRIED_EVERY": 12, "CARRIED_TESTS": 6, "METALS": {"Cu": (300, (600,))}, "N_EMT": 8}
)


class Split(NamedTuple):
    """Training structures and groups of test structures."""

    name: str
    shift: str
    setting: Setting
    train: list[Atoms]
    test: dict[str, list[Atoms]]
    familiar: Collection[str] = ()  # test groups that are like the training structures


def groups(frames: list[Atoms]) -> dict[str, list[Atoms]]:
    """Structures by config_type."""
    found: dict[str, list[Atoms]] = {}
    for atoms in frames:
        found.setdefault(str(atoms.info.get("config_type", "")), []).append(atoms)
    return found


def thinned(frames: list[Atoms], n: int = 25) -> list[Atoms]:
    """At most n, evenly spread."""
    return frames[:: max(1, -(-len(frames) // n))]


def solids() -> Iterator[Split]:
    """Si and Mo of Zuo et al.: training part only."""
    for element in ELEMENTS:
        train = DATASETS[element].train()
        by_type = groups(train)
        rest = [a for i, a in enumerate(train) if i % 5]
        yield Split(f"{element}, every fifth", "none", SOLID, rest, groups(train[::5]), by_type)
        for left_out in by_type:
            others = [a for name, frames in by_type.items() if name != left_out for a in frames]
            test = {left_out: thinned(by_type[left_out])}
            yield Split(f"{element} without {left_out}", "another phase", SOLID, others, test)
        aimd = by_type["AIMD-NVT"]
        temperatures = sorted({temperature(a) for a in aimd})
        cold = [a for a in aimd if temperature(a) == temperatures[0]]
        cold += [a for a in by_type["Vacancy"] if temperature(a) == temperatures[0]]
        hot = {f"{t:.0f} K": thinned([a for a in aimd if temperature(a) == t], 12) for t in temperatures[1:]}
        yield Split(f"{element} at {temperatures[0]:.0f} K", "hotter", SOLID, cold, hot)
        strained = sorted(by_type["Elastic"], key=strain)
        small = strained[: len(strained) * 6 // 10]
        yield Split(
            f"{element}, small strains", "larger strain", SOLID, small + aimd[::2], {"large": strained[len(small) :]}
        )


def temperature(atoms: Atoms) -> float:
    """Of the simulation a structure was taken from, K."""
    found = re.search(r"at ([\d.]+) ?K", atoms.info["description"])
    if found is None:
        raise SystemExit(f"no temperature in {atoms.info['description']!r}")
    return float(found.group(1))


def strain(atoms: Atoms) -> float:
    """Largest deviation of the metric of the cell from a cube's."""
    metric = np.array(atoms.cell) @ np.array(atoms.cell).T
    metric = metric / (np.trace(metric) / 3)
    return float(np.abs(metric - np.eye(3)).max())


def alloys() -> Iterator[Split]:
    """NbMoTaW: own split of the published training frames."""
    by_type = groups(DATASETS["nbmotaw"].train())
    binary = {k: v for k, v in by_type.items() if k.endswith("_SS")}
    pure = {k: v for k, v in by_type.items() if k.endswith(("_AIMD", "_Elastic"))}
    train = [a for frames in pure.values() for a in frames[::2]]
    yield Split(
        "Nb, Mo, Ta, W without alloys", "unseen neighbours", ALLOY, train, {k: v[:8] for k, v in binary.items()}
    )
    hot = {k: v for k, v in by_type.items() if k.endswith("_AIMD")}
    train = [a for k, frames in by_type.items() if k not in hot for a in frames[::2]]
    yield Split("NbMoTaW without AIMD", "another phase", ALLOY, train, {k: v[:8] for k, v in hot.items()})
    seen = [k for k in binary if "Ta" not in k]
    train = [a for k, frames in by_type.items() if k in seen or k in pure for a in frames[::2]]
    test = {k: v[:8] for k, v in binary.items() if k not in seen}
    yield Split("NbMoTaW without alloys of Ta", "unseen neighbours", ALLOY, train, test)


def molecules() -> Iterator[Split]:
    """GFN2-xTB ethanol and GFN1-xTB dry ice as the repository carries them, and 3BPA's training part."""
    for file, name, train, test in (
        ("ethanol_gfn2.xyz.gz", "ethanol (GFN2) at 300 K", ["MD300"], ["MD300", "MD600"]),
        ("dry_ice_gfn1.xyz.gz", "dry ice (GFN1) at 300 K", ["MD300"], ["MD300", "MD900", "strain"]),
    ):
        frames: dict[tuple[str, str], list[Atoms]] = {}
        for atoms in read_structures(CARRIED / file):
            frames.setdefault((atoms.info["config_type"], atoms.info["split"]), []).append(atoms)
        learnt = [*frames["isolated_atom", "train"], *(a for k in train for a in frames[k, "train"][::CARRIED_EVERY])]
        tests = {k: frames[k, "test"] + ([] if k in train else frames[k, "train"]) for k in test}
        yield Split(name, "hotter", MOLECULE, learnt, {k: v[:CARRIED_TESTS] for k, v in tests.items()}, train)
    frames3 = DATASETS["3bpa"].train()
    free, bound = [a for a in frames3 if len(a) == 1], [a for a in frames3 if len(a) > 1]
    bound.sort(key=lambda a: float(np.mean(a.get_forces() ** 2)))
    yield Split("3BPA, mild frames", "larger forces", MOLECULE, free + bound[:-60], {"wild": bound[-40:]})


def emt() -> Iterator[Split]:
    """Metals under ASE's effective medium theory: hotter, strained, a vacancy, a surface."""
    for symbol, (cold, hot) in METALS.items():
        train = dynamics(symbol, cold, N_EMT, seed=1)
        test = {f"{t} K": dynamics(symbol, t, 6, seed=2) for t in (cold, *hot)}
        test["+3 %"] = dynamics(symbol, cold, 5, seed=3, stretch=1.03)
        test["-3 %"] = dynamics(symbol, cold, 5, seed=4, stretch=0.97)
        crystal = dynamics(symbol, cold, 5, seed=5)
        test["vacancy"] = [labelled(a[[k for k in range(len(a)) if k != 3]]) for a in crystal]
        yield Split(f"{symbol} (EMT) at {cold} K", "hotter, strained, vacancy", SOLID, train, test, [f"{cold} K"])


def dynamics(symbol: str, kelvin: float, n: int, seed: int, stretch: float = 1.0) -> list[Atoms]:
    """Frames of Langevin dynamics of 32 atoms."""
    atoms = bulk(symbol, cubic=True) * (2, 2, 2)
    atoms.set_cell(atoms.cell * stretch, scale_atoms=True)
    atoms.calc = EMT()
    rng = np.random.RandomState(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * kelvin, rng=rng)
    run = Langevin(atoms, 4 * units.fs, temperature_K=kelvin, friction=0.02, rng=rng)
    run.run(100)
    frames = []
    for _ in range(n):
        run.run(40)
        frames.append(labelled(atoms))
    return frames


def labelled(atoms: Atoms) -> Atoms:
    """A copy with EMT labels."""
    out = atoms.copy()
    out.calc = EMT()
    labels = {"energy": out.get_potential_energy(), "forces": out.get_forces(), "stress": out.get_stress()}
    out.calc = SinglePointCalculator(out, **labels)
    return out


FAMILIES: dict[str, Callable[[], Iterator[Split]]] = {
    "solids": solids,
    "alloys": alloys,
    "molecules": molecules,
    "emt": emt,
}

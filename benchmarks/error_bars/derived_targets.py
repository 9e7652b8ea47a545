"""Properties made of DFT frames of Si and Mo (Zuo et al.), for derived.py; all are linear in energies and stress."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from kernpot.prediction import MeanPrediction
from kernpot.uncertainty.propagation import FixedGeometries

GROUPS = ("elastic constant", "stress", "strain energy", "vacancy", "along MD", "between temperatures")
_AXIAL, _SHEAR = (0, 1, 2), (3, 4, 5)


@dataclass
class Target:
    """One property: weights of energies by frame, and of stress by frame and Voigt component."""

    group: str
    unit: str
    energies: dict[int, float] = field(default_factory=dict)
    stress: dict[tuple[int, int], float] = field(default_factory=dict)

    @property
    def frames(self) -> set[int]:
        """Numbers of the frames."""
        return {*self.energies, *(k for k, _ in self.stress)}


class Targets(FixedGeometries):
    """Several properties of frames of one list."""

    needs = ("stress",)
    linear = True
    unit = ""

    def __init__(self, pool: Sequence[Atoms], targets: Sequence[Target]) -> None:
        frames = sorted({k for t in targets for k in t.frames})
        self.structures = [pool[k] for k in frames]
        self.groups, self.units = [t.group for t in targets], [t.unit for t in targets]
        place = {k: p for p, k in enumerate(frames)}
        self._energies = np.zeros((len(targets), len(frames)))
        self._stress = np.zeros((len(targets), len(frames), 6))
        for row, t in enumerate(targets):
            for k, w in t.energies.items():
                self._energies[row, place[k]] = w
            for (k, component), w in t.stress.items():
                self._stress[row, place[k], component] = w
        labels = [_labels(atoms) for atoms in self.structures]
        self.dft = self.combine(labels)

    def combine(self, answers: Sequence[MeanPrediction]) -> NDArray[np.float64]:
        """Values of all properties."""
        energies = np.array([a.energy for a in answers])
        stress = np.array([a.stress for a in answers])
        return np.asarray(self._energies @ energies + np.einsum("tfc,fc->t", self._stress, stress))


@dataclass
class Strained:
    """Frames of the elastic part by (component of strain, level, sign), and the unstrained crystal."""

    frames: dict[tuple[int, float, int], int]
    ground: int

    @classmethod
    def find(cls, pool: Sequence[Atoms]) -> Strained:
        """Read strains from the descriptions, and components from the DFT stress."""
        frames, ground = {}, -1
        for k, atoms in enumerate(pool):
            text = str(atoms.info["description"])
            if text == "Ground state crystal":
                ground = k
            if found := re.search(r"mode \d, strain (-?[\d.]+)", text):
                strain = float(found[1])
                shear = np.abs(atoms.get_stress()[3:])
                odd = np.abs(atoms.get_stress()[:3] - np.median(atoms.get_stress()[:3]))
                tilted = not np.allclose(atoms.cell.angles(), 90, atol=1e-3)
                component = 3 + int(shear.argmax()) if tilted else int(odd.argmax())
                frames[component, abs(strain), int(np.sign(strain))] = k
        if ground < 0:
            raise ValueError("expected a frame described as 'Ground state crystal'")
        return cls(frames, ground)

    def levels(self) -> list[float]:
        """Strain levels."""
        return sorted({level for _, level, _ in self.frames})

    def pair(self, components: Sequence[int], level: float) -> tuple[int, int, int] | None:
        """Component and frames of +level and -level, of the first component that has both."""
        for c in components:
            plus, minus = (self.frames.get((c, level, sign)) for sign in (1, -1))
            if plus is not None and minus is not None:
                return c, plus, minus
        return None


def elastic(pool: Sequence[Atoms], strained: Strained, level: float) -> list[Target]:
    """C11, C12, C44 at a finite strain by central differences of the stress, and energies of the strained crystals."""
    targets = []
    n = len(pool[strained.ground])
    for kind in (_AXIAL, _SHEAR):
        found = strained.pair(kind, level)
        if found is None:
            continue
        c, plus, minus = found
        axial = kind is _AXIAL
        w = 1.0 / (2 * (level if axial else _tilt(pool[plus])) * units.GPa)
        components = (c, (c + 1) % 3) if axial else (c,)
        targets += [Target("elastic constant", "GPa", stress={(plus, i): w, (minus, i): -w}) for i in components]
        # A shear and its opposite are the same crystal.
        crystals = (plus, minus) if axial else (plus,)
        per_atom = 1e3 / n
        targets += [Target("strain energy", "meV/atom", {k: per_atom, strained.ground: -per_atom}) for k in crystals]
    return targets


def along_md(pool: Sequence[Atoms], chosen: dict[str, list[int]], ground: int) -> list[Target]:
    """Energies of vacancy cells against the crystal, differences along trajectories and between their means, eV."""
    targets = []
    means: dict[str, list[int]] = {}
    perfect = len(pool[ground])
    for name, frames in chosen.items():
        if pool[frames[0]].info["config_type"] == "Vacancy":
            targets += [Target("vacancy", "eV", {k: 1.0, ground: -len(pool[k]) / perfect}) for k in frames]
        else:
            pairs = zip(frames[::2], frames[1::2], strict=False)
            targets += [Target("along MD", "eV", {second: 1.0, first: -1.0}) for first, second in pairs]
            means[name] = frames
    names = sorted(means)
    for cold, hot in pairwise(names):
        weights = {k: 1.0 / len(means[hot]) for k in means[hot]} | {k: -1.0 / len(means[cold]) for k in means[cold]}
        targets.append(Target("between temperatures", "eV", weights))
    return targets


def split(
    pool: Sequence[Atoms], strained: Strained, size: int, seed: int, n_levels: int, n_frames: int
) -> tuple[list[int], Targets]:
    """Training frames, and properties of frames left out; a larger size contains the smaller ones of its seed."""
    rng = np.random.default_rng(seed)
    levels = rng.permutation(strained.levels())[:n_levels]
    left_out = {k for (_, level, _), k in strained.frames.items() if level in levels}
    chosen = {name: rng.choice(ks, n_frames, replace=False).tolist() for name, ks in _trajectories(pool).items()}
    left_out |= {k for ks in chosen.values() for k in ks}
    targets = [t for level in levels for t in elastic(pool, strained, float(level))]
    targets += along_md(pool, chosen, strained.ground)
    remaining = [k for k in range(len(pool)) if k not in left_out]
    return rng.permutation(remaining)[:size].tolist(), Targets(pool, targets)


def alloy_split(pool: Sequence[Atoms], size: int, seed: int) -> tuple[list[int], Targets]:
    """The same for an element of the NbMoTaW set, whose strained cells have no description.

    Strained cells of one energy are copies by symmetry: all of a class train, or none. Energies and stress components
    of those left out are taken relative to the cell of least energy.
    """
    rng = np.random.default_rng(seed)
    strained = [k for k, a in enumerate(pool) if str(a.info["config_type"]).endswith("_Elastic")]
    energy = {k: pool[k].get_potential_energy() / len(pool[k]) for k in strained}
    ground = min(strained, key=lambda k: energy[k])
    classes: dict[float, list[int]] = {}
    for k in strained:
        classes.setdefault(round(1e4 * energy[k]), []).append(k)
    names = [name for name, members in classes.items() if ground not in members]
    tested = [classes[name] for name in rng.choice(names, 6, replace=False)]
    md = [k for k, a in enumerate(pool) if str(a.info["config_type"]).endswith("_AIMD")]
    moving = rng.choice(md, 12, replace=False).tolist()
    targets = []
    for first, *_ in tested:
        targets.append(Target("strain energy", "meV/atom", _per_atom(pool, first, ground)))
        component = int(np.abs(pool[first].get_stress() - pool[ground].get_stress()).argmax())
        weights = {(first, component): 1 / units.GPa, (ground, component): -1 / units.GPa}
        targets.append(Target("stress", "GPa", stress=weights))
    targets += [Target("along MD", "eV", {b: 1.0, a: -1.0}) for a, b in zip(moving[::2], moving[1::2], strict=True)]
    left_out = {*moving, *(k for members in tested for k in members)}
    remaining = [k for k in range(len(pool)) if k not in left_out]
    return rng.permutation(remaining)[:size].tolist(), Targets(pool, targets)


def _per_atom(pool: Sequence[Atoms], k: int, reference: int) -> dict[int, float]:
    return {k: 1e3 / len(pool[k]), reference: -1e3 / len(pool[reference])}


def test_targets(pool: Sequence[Atoms], strained: Strained, test: Sequence[Atoms]) -> Targets:
    """Properties of the published test frames; strained ones are copies of training frames by symmetry, so not used."""
    frames = [*test, pool[strained.ground]]
    return Targets(frames, along_md(frames, _trajectories(test), len(test)))


def _trajectories(frames: Sequence[Atoms]) -> dict[str, list[int]]:
    """Frames along MD and with a vacancy by the name of their trajectory."""
    found: dict[str, list[int]] = {}
    for k, atoms in enumerate(frames):
        if atoms.info["config_type"] in ("AIMD-NVT", "Vacancy"):
            name = re.sub(r"Snapshot \d+ of \d+ of ", "", str(atoms.info["description"]))
            found.setdefault(name, []).append(k)
    return found


def _tilt(atoms: Atoms) -> float:
    """Engineering shear strain of a sheared cubic cell."""
    unit = atoms.cell.array / np.linalg.norm(atoms.cell.array, axis=1)[:, None]
    return float(np.abs(unit @ unit.T - np.eye(3)).max())


def _labels(atoms: Atoms) -> MeanPrediction:
    """DFT labels in the form of a potential's answer."""
    return MeanPrediction(atoms.get_potential_energy(), np.empty(0), atoms.get_forces(), atoms.get_stress())

"""Published data sets with their splits, and the settings that are tried for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ase import Atoms
from dscribe.descriptors import SOAP

from benchmarks.shared import smoke, stand_ins
from benchmarks.shared.results import ROOT
from kernpot import SOAPKernel, SparseGPPotential, read_structures

# The published data sets are not part of the repository; they are expected beside it.
DATA = ROOT.parent / "shared" / "data"


@dataclass(frozen=True)
class Setting:
    """A candidate: descriptors as (r_cut, n_max, l_max, sigma, m), power, inducing environments and their choice.

    ``n_components`` is the number of directions inducing environments lie in; None takes all.
    """

    descriptors: tuple[tuple[float, int, int, float, int], ...]
    zeta: int
    n_inducing: int | str
    compression: str = "off"
    inducing: str = "fps"
    n_components: int | None = None

    def small(self) -> Setting:
        """The same at the size of a smoke run."""
        (r_cut, _, _, _, m), *_ = self.descriptors
        components = None if self.n_components is None else 4
        return replace(self, descriptors=((min(r_cut, 4.0), 3, 2, 0.5, m),), n_inducing=20, n_components=components)

    def estimator(self, species: list[str], **parameters: Any) -> SparseGPPotential:
        """An unfitted estimator with this setting."""
        if smoke.folder() is not None and self != self.small():
            return self.small().estimator(species, **parameters)
        soaps = [
            SOAP(
                species=species,
                r_cut=r,
                n_max=n,
                l_max=degree,
                sigma=sigma,
                periodic=True,
                weighting={"function": "poly", "r0": r, "c": 1.0, "m": m},
                compression={"mode": self.compression, "species_weighting": None},
            )
            for r, n, degree, sigma, m in self.descriptors
        ]
        return SparseGPPotential(
            soaps,
            n_inducing=self.n_inducing,
            kernel=SOAPKernel(self.zeta),
            inducing=self.inducing,
            n_components=self.n_components,
            random_state=0,
            **parameters,
        )

    @classmethod
    def of(cls, stored: dict[str, Any], **changes: Any) -> Setting:
        """The setting chosen in a stored result."""
        descriptors = tuple(tuple(d) for d in stored["descriptors"])
        return cls(**(stored | {"descriptors": descriptors} | changes))


@dataclass(frozen=True)
class DataSet:
    """A published data set with its split; in a smoke run ten structures stand in for each part."""

    name: str
    read_train: Callable[[], list[Atoms]]
    read_test: Callable[[], list[Atoms]]
    candidates: tuple[Setting, ...]
    published: dict[str, dict[str, float]]

    def train(self) -> list[Atoms]:
        """What is learnt."""
        return self.read_train() if smoke.folder() is None else stand_ins.structures(self.name)

    def test(self) -> list[Atoms]:
        """What is asked."""
        return self.read_test() if smoke.folder() is None else stand_ins.structures(self.name, test=True)


def _file(*parts: str) -> Callable[[], list[Atoms]]:
    return lambda: read_structures(DATA.joinpath(*parts))


def _with_atoms(folder: str, train: str, atoms: str) -> Callable[[], list[Atoms]]:
    return lambda: read_structures([DATA / folder / train, DATA / folder / atoms])


def _nbmotaw(test: bool) -> Callable[[], list[Atoms]]:
    """Own split: in every published group, every 5th structure is for testing; of the rest every 3rd trains."""

    def read() -> list[Atoms]:
        groups: dict[str, list[Atoms]] = {}
        for atoms in read_structures(DATA / "nbmotaw" / "train.xyz.gz"):
            groups.setdefault(str(atoms.info.get("config_type", "")), []).append(atoms)
        if test:
            return [a for frames in groups.values() for a in frames[4::5]]
        return [a for frames in groups.values() for a in [f for k, f in enumerate(frames) if k % 5 != 4][::3]]

    return read


_SOLID = (
    Setting(((5.5, 10, 6, 0.5, 1),), 2, 1000, inducing="fps"),
    Setting(((5.0, 10, 6, 0.5, 1),), 2, 1000, inducing="leverage"),
    Setting(((5.5, 10, 6, 0.5, 1),), 2, 1000, inducing="leverage"),
    Setting(((5.5, 10, 6, 0.5, 1),), 4, 1000, inducing="leverage"),
    Setting(((6.0, 10, 6, 0.5, 1),), 2, 1000, inducing="leverage"),
    Setting(((5.5, 12, 8, 0.4, 1),), 2, 1000, inducing="leverage"),
    Setting(((5.5, 12, 8, 0.4, 1),), 2, 1600, inducing="leverage"),
    Setting(((5.0, 10, 6, 0.5, 1),), 4, 1000, inducing="leverage"),
    Setting(((5.0, 10, 6, 0.5, 1),), 4, 2000, inducing="leverage"),
    Setting(((5.5, 10, 6, 0.5, 1),), 4, 2000, inducing="leverage"),
    Setting(((5.0, 10, 6, 0.5, 1),), 2, 1000, inducing="leverage", n_components=128),
    Setting(((5.0, 10, 6, 0.5, 1),), 4, 1000, inducing="leverage", n_components=128),
    Setting(((5.0, 10, 6, 0.5, 1),), 4, 2000, inducing="leverage", n_components=128),
)

_MOLECULE = (
    Setting(((4.5, 6, 5, 0.4, 1),), 2, 1200, inducing="leverage"),
    Setting(((4.5, 6, 5, 0.3, 1),), 2, 1200, inducing="leverage"),
    Setting(((4.5, 6, 5, 0.4, 1),), 2, 1200, "mu1nu1", "leverage"),
    Setting(((4.5, 6, 5, 0.3, 1),), 2, 1200, "mu1nu1", "leverage"),
    Setting(((5.0, 6, 5, 0.4, 3),), 2, 1200, "mu1nu1", "leverage"),
    Setting(((5.5, 6, 5, 0.4, 4),), 2, 1200, "mu1nu1", "leverage"),
    Setting(((5.5, 6, 5, 0.3, 4),), 2, 1200, "mu1nu1", "leverage"),
    Setting(((3.5, 6, 5, 0.4, 1),), 2, 1200, "mu1nu1", "leverage"),
)

_SETS = (
    DataSet(
        "Si",
        _file("mlearn", "Si_train.xyz"),
        _file("mlearn", "Si_test.xyz"),
        _SOLID,
        {"GAP": {"energy": 2.91, "forces": 0.07}, "MTP": {"energy": 2.21, "forces": 0.06}},
    ),
    DataSet(
        "Mo",
        _file("mlearn", "Mo_train.xyz"),
        _file("mlearn", "Mo_test.xyz"),
        _SOLID,
        {"GAP": {"energy": 2.24, "forces": 0.09}, "MTP": {"energy": 2.83, "forces": 0.09}},
    ),
    DataSet(
        "3bpa",
        _with_atoms("3bpa", "train_300K.xyz", "iso_atoms.xyz"),
        _file("3bpa", "derived_test_300K.xyz"),
        _MOLECULE,
        {},
    ),
    DataSet(
        "acac",
        _with_atoms("acac", "train_300K.xyz", "isolated_atoms.xyz"),
        _file("acac", "test_MD_300K.xyz"),
        _MOLECULE,
        {},
    ),
    DataSet(
        "ethanol",
        _with_atoms("ethanol", "train.xyz", "isolated_atoms.xyz"),
        _file("ethanol", "test_MD.xyz"),
        _MOLECULE,
        {},
    ),
    DataSet(
        "nbmotaw",
        _nbmotaw(False),
        _nbmotaw(True),
        (
            Setting(((5.0, 6, 4, 0.5, 1),), 2, 1200, inducing="leverage"),
            Setting(((5.0, 6, 4, 0.5, 1),), 2, 1200, "mu1nu1", "leverage"),
            Setting(((5.0, 8, 6, 0.5, 1),), 2, 1200, "mu1nu1", "leverage"),
            Setting(((5.8, 6, 5, 0.5, 3),), 2, 1200, "mu1nu1", "leverage"),
            Setting(((5.8, 8, 6, 0.5, 3),), 2, 1200, "mu1nu1", "leverage"),
        ),
        {},
    ),
)
DATASETS = {data.name: data for data in _SETS}


def species_of(structures: list[Atoms]) -> list[str]:
    """Chemical symbols present."""
    return sorted({s for a in structures for s in a.get_chemical_symbols()})

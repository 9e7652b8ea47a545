"""Few structures: environments of displaced copies make up for those that are missing."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot import SparseGPPotential, read_structures
from kernpot.errors import InducingWarning
from kernpot.functionals.state import InducingBlock
from kernpot.gp.inducing.displaced import displaced_copies, worst_represented
from kernpot.gp.learning import ingredients
from kernpot.kernels import Power
from tests.helpers.systems import cluster, crystals, labelled, soap

DATA = Path(__file__).resolve().parents[3] / "examples" / "data" / "ethanol_gfn2.xyz.gz"
FEW = crystals(3, symbols="Cu3Au")
ASKED = crystals(2, seed=7, symbols="Cu3Au")
FIXED: dict[str, Any] = {"noise": {"energy": 1e-3, "forces": 0.02, "stress": 1e-3}, "optimize": False}


def rich(**other: Any) -> SparseGPPotential:
    """With features enough that copies differ."""
    return SparseGPPotential(soap(["Cu", "Au"], n_max=5, l_max=4), **(FIXED | {"random_state": 0} | other))


def environments(gp: SparseGPPotential) -> list[torch.Tensor]:
    return [b.environments for b in gp.fitted_.whitening.blocks]


def test_few_are_filled_up() -> None:
    """To the number asked for; the structures' own environments come first and all stay."""
    gp = rich(n_inducing=20).fit(FEW)
    assert gp.n_inducing_ == 20
    assert gp.summary_["n_displaced"] == 20 - 12
    own = rich(inducing=FEW).fit(FEW)
    assert own.n_inducing_ == 12 and own.summary_["n_displaced"] == 0
    for filled, alone in zip(environments(gp), environments(own), strict=True):
        closest = (alone @ filled[: len(alone)].T).max(1).values
        torch.testing.assert_close(closest, torch.ones_like(closest), rtol=0, atol=1e-12)


def test_no_more_than_say_something() -> None:
    """Copies that the others represent are left out, so that the covariance needs no more jitter than usual."""
    gp = rich(n_inducing=300).fit(FEW)
    assert 20 < gp.n_inducing_ < 300
    assert gp.fitted_.whitening.jitter == [1e-10, 1e-10]


def test_several_descriptors_are_filled_each() -> None:
    two = [soap(["Cu", "Au"], 4.0, 5, 4), soap(["Cu", "Au"], 4.5, 4, 3)]
    gp = SparseGPPotential(two, n_inducing=41, random_state=0, **FIXED).fit(FEW)
    sizes = [len(b.environments) for b in gp.fitted_.whitening.blocks]
    assert (sizes[0] + sizes[1], sizes[2] + sizes[3]) == (21, 20)
    assert [b.columns.start for b in gp.fitted_.whitening.blocks] == [0, *np.cumsum(sizes)[:-1]]


@pytest.mark.parametrize("n_inducing", [8, 12])
def test_enough_keep_their_bits(n_inducing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn, and nothing changes, where structures hold as many environments as are asked for."""
    state = np.random.RandomState(4)
    gp = rich(n_inducing=n_inducing, random_state=state).fit(FEW)
    monkeypatch.setattr(ingredients, "fill_up", lambda blocks, *_: blocks)
    before = np.random.RandomState(4)
    same = rich(n_inducing=n_inducing, random_state=before).fit(FEW)
    assert state.randint(2**31) == before.randint(2**31)
    for a, b in zip(environments(gp), environments(same), strict=True):
        assert torch.equal(a, b)


def test_seeded() -> None:
    first, again, other = (rich(n_inducing=40, random_state=seed).fit(FEW) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(environments(first), environments(again), strict=True))
    assert not torch.equal(environments(first)[0], environments(other)[0])
    np.testing.assert_array_equal(first.mean(ASKED[0]).forces, again.mean(ASKED[0]).forces)


def test_copies_are_dealt_evenly_and_stay_close() -> None:
    structures = [*FEW, Atoms("Cu")]
    copies = displaced_copies(structures, 24, np.random.RandomState(0))
    assert len(copies) == 9  # 36 environments, half as many again as are wanted; none of the single atom
    for k, copy in enumerate(copies):
        np.testing.assert_array_equal(copy.cell.array, structures[k % 3].cell.array)
        moved = copy.positions - structures[k % 3].positions
        assert 0.005 < moved.std() < 0.05
    assert displaced_copies([Atoms("Cu")], 5, np.random.RandomState(0)) == []


def test_worst_represented_come_first_and_alike_ones_once() -> None:
    rng = torch.Generator().manual_seed(0)
    u = torch.nn.functional.normalize(torch.randn((6, 20), generator=rng, dtype=torch.float64), dim=1)
    block = InducingBlock(0, 29, Power(2), u[:2], slice(0, 2))
    near = torch.nn.functional.normalize(u[:1] + 0.05 * u[5:], dim=1)
    candidates = torch.cat([u[:1], near, u[2:4], u[3:4]])
    order = worst_represented(candidates, block)
    assert sorted(order[:2].tolist()) in ([2, 3], [2, 4])
    assert order.tolist()[2:] == [1]
    assert len(worst_represented(u[:2], block)) == 0


@pytest.mark.filterwarnings("ignore:.*explained no better than by a constant")
def test_what_no_displacement_changes_is_warned_of() -> None:
    """One atom in a cell moves with its images."""
    frames = [labelled(bulk("Cu", a=a)) for a in (3.5, 3.6, 3.7)]
    with pytest.warns(InducingWarning, match="3 inducing environments are used instead of 50"):
        gp = SparseGPPotential(soap(), n_inducing=50, random_state=0, **FIXED).fit(frames)
    assert gp.n_inducing_ == 3


def test_update_still_has_room() -> None:
    """Copies do not keep out environments that nobody had seen."""
    gp = rich(n_inducing=20, isolated_atoms={"Cu": 3.0, "Au": 3.5}).fit(FEW)
    assert gp.n_inducing_ == 20
    gp.update([cluster("Cu2Au2")])
    assert gp.n_inducing_ > 20


def ethanol(copies: bool, train: list[Atoms]) -> SparseGPPotential:
    descriptor = soap(["C", "H", "O"], n_max=5, l_max=4, m=1, sigma=0.3, periodic=False)
    inducing: Any = "fps" if copies else train
    return SparseGPPotential(descriptor, n_inducing=400, inducing=inducing, random_state=0).fit(train)


def test_forces_of_few_structures_are_better() -> None:
    """Ethanol, fifteen structures: the error on others falls by a third at least, intervals stay honest."""
    frames = [a for a in read_structures(DATA) if a.info["split"] == "train"]
    alone, frames = frames[:3], frames[3:]
    train, others = [*alone, *frames[::14][:15]], frames[5::25]
    labels = np.concatenate([a.get_forces() for a in others])
    errors = {}
    for copies in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            gp = ethanol(copies, train)
        found = gp.predict_full(others)
        errors[copies] = float(np.sqrt(np.mean((np.concatenate([p.forces.mean for p in found]) - labels) ** 2)))
        bounds = [p.forces.interval(0.9) for p in found]
        low, high = (np.concatenate(side) for side in zip(*bounds, strict=True))
        assert np.mean((low <= labels) & (labels <= high)) > 0.8
    assert errors[True] < 0.67 * errors[False]


def test_energies_are_as_smooth_as_before() -> None:
    """Close pairs have large weights of opposite sign; forces still are the slopes of the energy."""
    gp = rich(n_inducing=100).fit(FEW)
    atoms, step = ASKED[0].copy(), 1e-3
    atoms.calc = SinglePointCalculator(atoms)
    direction = np.random.default_rng(0).normal(size=(4, 3))
    energies = []
    for k in (-2, -1, 1, 2):
        moved = atoms.copy()
        moved.positions += k * step * direction
        energies.append(gp.mean(moved).energy)
    slope = (8 * (energies[2] - energies[1]) - (energies[3] - energies[0])) / (12 * step)
    assert -slope == pytest.approx(float((gp.mean(atoms).forces * direction).sum()), rel=1e-6, abs=1e-7)

"""Inducing blocks: every element has its part, and what is chosen is there."""

from __future__ import annotations

import numpy as np
import pytest

from kernpot import SOAPKernel
from kernpot.descriptors import SOAPFeatures
from kernpot.errors import KernpotError
from kernpot.functionals.descriptions import Descriptions
from kernpot.functionals.state import InducingBlock
from kernpot.gp.inducing.blocks import choose, components_of, part_of, shares, unit_features
from tests.helpers.systems import cluster, crystals, soap

FRAMES = [*crystals(4, symbols="Cu3Au"), cluster("Cu3Au")]
FEATURES = [SOAPFeatures(soap(["Cu", "Au"])), SOAPFeatures(soap(["Cu", "Au"], cutoff=3.0, l_max=1))]


def chosen(n_inducing: int, method: str = "fps") -> list[InducingBlock]:
    kernels = [SOAPKernel(2), SOAPKernel(3)]
    rng = np.random.RandomState(0)
    return choose(Descriptions(FEATURES, FRAMES), components_of(kernels), n_inducing, method, rng, [{}, {}])


@pytest.mark.parametrize("counts", [{1: 900, 6: 100}, {1: 3, 6: 400, 8: 2}, {29: 7}, {1: 0, 6: 50}])
@pytest.mark.parametrize("total", [4, 60, 5000])
def test_shares_use_all_there_is_and_no_more(counts: dict[int, int], total: int) -> None:
    found = shares(counts, total)
    assert sum(found.values()) == min(total, sum(counts.values()))
    assert all(0 <= found[z] <= n for z, n in counts.items())


def test_shares_go_by_the_root_of_abundance() -> None:
    found = shares({1: 90_000, 6: 10_000}, 400)
    assert abs(found[1] / found[6] - 3) < 0.05


@pytest.mark.parametrize("method", ["fps", "cur", "leverage", "random"])
def test_chosen_environments_are_those_of_the_structures_each_once(method: str) -> None:
    blocks = chosen(12, method)
    assert [(b.descriptor, b.element) for b in blocks] == [(0, 29), (0, 79), (1, 29), (1, 79)]
    edges = [edge for b in blocks for edge in (b.columns.start, b.columns.stop)]
    assert edges[0] == 0 and edges[-1] == 12 and edges[1:-1:2] == edges[2::2]
    for b in blocks:
        there = np.concatenate([unit_features(FEATURES[b.descriptor], a)[a.numbers == b.element] for a in FRAMES])
        distance = np.linalg.norm(there[None] - b.environments.numpy()[:, None], axis=2)
        assert (distance.min(1) < 1e-12).all()
        assert len(np.unique(distance.argmin(1))) == len(b.environments)
        assert b.function.power == (2, 3)[b.descriptor]


def test_parts_of_components_add_up() -> None:
    assert [part_of(c, 3, 11) for c in range(3)] == [4, 4, 3]


def test_an_element_without_an_environment_is_refused() -> None:
    with pytest.raises(KernpotError, match="n_inducing=3 is too few: 2 elements and 2 descriptors need at least 4"):
        chosen(3)

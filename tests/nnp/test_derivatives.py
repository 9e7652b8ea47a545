"""The linear map from slopes to forces and stress: against double precision, finite differences, and itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from kernpot.nnp import derivatives
from kernpot.nnp.derivatives import Batch, Derivatives, forces_and_stress
from kernpot.nnp.descriptions import Descriptions
from kernpot.nnp.members import potentials_of
from tests.helpers.soaps import central_difference, displaced
from tests.helpers.systems import cluster, crystals, slab, small_molecule, soap
from tests.nnp.small import Parts, acsf


def wire(seed: int = 3) -> Atoms:
    atoms = crystals(1, seed, symbols="Cu3Au")[0]
    atoms.pbc = [False, False, True]
    return atoms


def odd_cells() -> list[Atoms]:
    """Cells far smaller than the cutoff, and a very skewed one."""
    one = bulk("Cu")
    one.set_cell(one.cell.array @ (np.eye(3) + 0.05 * np.random.default_rng(0).normal(size=(3, 3))), scale_atoms=True)
    two = bulk("Au").repeat((2, 1, 1))
    two.numbers[0] = 29
    two.rattle(0.1, rng=np.random.default_rng(1))
    skewed = crystals(1, 5, symbols="Cu3Au")[0]
    skewed.set_cell(np.array([[1, 0, 0], [2, 1, 0], [-1, 3, 1]]) @ skewed.cell.array)
    return [one, two, skewed]


def alloys() -> list[Atoms]:
    return [*crystals(2, symbols="Cu3Au"), slab(), wire(), cluster("Cu3Au"), Atoms("Au"), *odd_cells()]


def three_elements() -> list[Atoms]:
    return [*crystals(2, symbols="Cu2AuAg"), cluster("CuAuAg2")]


CASES = {
    "copper": (lambda: [*crystals(2), slab(), cluster()], lambda: soap()),
    "alloys": (alloys, lambda: soap(["Cu", "Au"])),
    "three elements": (three_elements, lambda: soap(["Cu", "Au", "Ag"])),
    "molecules": (
        lambda: [small_molecule("CO2", 1), small_molecule("CO", 2), small_molecule("H2", 3)],
        lambda: soap(["H", "C", "O"], sigma=0.3),
    ),
    "mu2": (alloys, lambda: soap(["Cu", "Au"], compression={"mode": "mu2"})),
    "mu1nu1": (three_elements, lambda: soap(["Cu", "Au", "Ag"], compression={"mode": "mu1nu1"})),
    "crossover": (three_elements, lambda: soap(["Cu", "Au", "Ag"], compression={"mode": "crossover"})),
    "symmetry functions": (alloys, lambda: acsf()),
    "symmetry functions of three": (three_elements, lambda: acsf(["Cu", "Au", "Ag"])),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Parts:
    structures, descriptor = CASES[request.param]
    return Parts(structures(), descriptor())


def whole(data: Derivatives) -> Batch:
    return Batch(data, np.arange(len(data.atoms) - 1))


def close(found: np.ndarray, expected: np.ndarray, relative: float = 1e-5) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=relative * max(float(np.abs(expected).max()), 1e-12))


def test_forces_and_stress_are_those_of_the_potentials(case: Parts) -> None:
    data = case.describe()
    forces, stress = forces_and_stress(case.slopes(data), whole(data))
    members = potentials_of(case.features, case.inputs, case.networks, dict.fromkeys(case.elements, 0.0))
    largest = max(float(np.abs(members(a).forces).max()) for a in case.structures)
    assert largest > 1e-3
    for s, atoms in enumerate(case.structures):
        expected = members(atoms)
        own = slice(data.atoms[s], data.atoms[s + 1])
        np.testing.assert_allclose(forces[own].numpy().transpose(2, 0, 1), expected.forces, rtol=0, atol=1e-5 * largest)
        if all(atoms.pbc):
            assert expected.stress is not None
            close(stress[s].numpy().T, expected.stress, 2e-5)
        else:
            assert not stress[s].any()


def test_inputs_are_those_of_the_potentials(case: Parts) -> None:
    data = case.describe()
    at = 0
    for atoms in case.structures:
        x = torch.from_numpy(case.features(atoms))
        for k, z in enumerate(atoms.numbers):
            expected = case.inputs[int(z)](x[k : k + 1])[0]
            found = data.inputs[at + k]
            torch.testing.assert_close(found[: len(expected)].double(), expected, rtol=1e-6, atol=1e-6)
            assert not found[len(expected) :].any()
        at += len(atoms)


def test_forces_and_stress_by_finite_differences() -> None:
    """Of the energies of the networks alone, without any of the library's derivatives."""
    structures = [crystals(1, symbols="Cu3Au")[0], odd_cells()[1], cluster("Cu3Au")]
    parts = Parts(structures, soap(["Cu", "Au"]))
    data = parts.describe()
    forces, stress = forces_and_stress(parts.slopes(data), whole(data))

    def energies(atoms: Atoms) -> np.ndarray:
        x = torch.from_numpy(parts.features(atoms))
        found = [
            parts.networks[z](parts.inputs[z](x[torch.from_numpy(atoms.numbers == z)]))[0].sum(1)
            for z in parts.elements
        ]
        return torch.stack(found).sum(0).numpy()

    rng = np.random.default_rng(0)
    for s, atoms in enumerate(structures):
        move = rng.normal(size=(len(atoms), 3))
        slope = central_difference(lambda t, a=atoms, u=move: energies(displaced(a, t * u)))
        own = forces[data.atoms[s] : data.atoms[s + 1]].double().numpy()
        close(-np.einsum("nak,na->k", own, move), slope)
        if all(atoms.pbc):
            strain = rng.normal(size=(3, 3))
            strain = 0.5 * (strain + strain.T)
            slope = central_difference(lambda t, a=atoms, e=strain: energies(displaced(a, strain=t * e)))
            voigt = np.array([strain[0, 0], strain[1, 1], strain[2, 2], *(2 * strain[[1, 0, 0], [2, 2, 1]])])
            close(atoms.get_volume() * stress[s].double().numpy().T @ voigt, slope)


def test_unfolding_is_the_adjoint_of_folding(case: Parts) -> None:
    data = case.describe()
    batch = whole(data)
    g = torch.Generator().manual_seed(0)
    slopes = torch.randn((len(data.numbers), 3, data.inputs.shape[1]), generator=g, requires_grad=True)
    forces, stress = forces_and_stress(slopes, batch)
    t, u = torch.randn(forces.shape, generator=g), torch.randn(stress.shape, generator=g)
    left = (forces.double() * t).sum() + (stress.double() * u).sum()
    (back,) = torch.autograd.grad((forces * t).sum() + (stress * u).sum(), slopes)
    right = (slopes.detach().double() * back.double()).sum()
    size = float((slopes.detach().double() * back.double()).abs().sum())
    assert abs(float(left.detach()) - float(right)) < 1e-6 * size


@pytest.mark.parametrize("n_members", range(1, 10))
def test_any_number_of_members(n_members: int) -> None:
    """The loops take several at a time: each is what it is alone, forth and back."""
    parts = Parts(alloys(), soap(["Cu", "Au"]))
    data = parts.describe()
    batch, g = whole(data), torch.Generator().manual_seed(0)
    slopes = torch.randn((len(data.numbers), n_members, data.inputs.shape[1]), generator=g, requires_grad=True)
    forces, stress = forces_and_stress(slopes, batch)
    t, u = torch.randn(forces.shape, generator=g), torch.randn(stress.shape, generator=g)
    (back,) = torch.autograd.grad((forces * t).sum() + (stress * u).sum(), slopes)
    for k in range(n_members):
        alone = slopes.detach()[:, k : k + 1].clone().requires_grad_()
        f, s = forces_and_stress(alone, batch)
        (b,) = torch.autograd.grad((f * t[..., k : k + 1]).sum() + (s * u[..., k : k + 1]).sum(), alone)
        close(forces[..., k].detach().numpy(), f[..., 0].detach().numpy(), 2e-6)
        close(stress[..., k].detach().numpy(), s[..., 0].detach().numpy(), 2e-6)
        close(back[:, k].numpy(), b[:, 0].numpy(), 2e-6)


def test_folding_is_linear(case: Parts) -> None:
    data = case.describe()
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn((len(data.numbers), 2, data.inputs.shape[1]), generator=g) for _ in range(2))
    together = forces_and_stress(a + 2 * b, whole(data))
    for found, x, y in zip(together, forces_and_stress(a, whole(data)), forces_and_stress(b, whole(data)), strict=True):
        close(found.numpy(), (x + 2 * y).numpy())


@pytest.mark.parametrize("chosen", [[0], [3], [7, 2], [5, 4, 3, 2, 1, 0], [2, 2, 4], [5]])
def test_any_structures_in_any_order(chosen: list[int]) -> None:
    parts = Parts(alloys(), soap(["Cu", "Au"]))
    data = parts.describe()
    slopes = parts.slopes(data)
    forces, stress = forces_and_stress(slopes, whole(data))
    batch = Batch(data, np.array(chosen, dtype=np.int64))
    some, strained = forces_and_stress(slopes[batch.places], batch)
    assert batch.sizes.tolist() == [len(parts.structures[s]) for s in chosen]
    assert torch.equal(some, forces[batch.places])
    assert torch.equal(strained, stress[torch.tensor(chosen)])


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_same_bits_on_any_number_of_threads(threads: None) -> None:
    parts = Parts(alloys(), soap(["Cu", "Au"]))
    data = parts.describe()
    g = torch.Generator().manual_seed(0)
    given = torch.randn((len(data.numbers), 3, data.inputs.shape[1]), generator=g)
    weights = torch.randn((len(data.numbers), 3, 3), generator=g)
    found = []
    for n in (1, 2, 3):
        torch.set_num_threads(n)
        slopes = given.clone().requires_grad_()
        forces, stress = forces_and_stress(slopes, whole(data))
        (back,) = torch.autograd.grad((forces * weights).sum() + stress.sum(), slopes)
        found.append((forces.detach(), stress.detach(), back))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert torch.equal(a, b)


def test_temporary_file_holds_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(alloys(), soap(["Cu", "Au"]))
    kept = parts.describe()
    monkeypatch.setattr(derivatives, "_IN_MEMORY", 1.0)
    data = parts.describe()
    assert isinstance(data.along, np.memmap) and not isinstance(kept.along, np.memmap)
    np.testing.assert_array_equal(data.along, kept.along)
    slopes = parts.slopes(data)
    for a, b in zip(forces_and_stress(slopes, whole(data)), forces_and_stress(slopes, whole(kept)), strict=True):
        assert torch.equal(a, b)


def test_few_pairs_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(alloys(), soap(["Cu", "Au"]))
    kept = parts.describe().along
    monkeypatch.setattr(derivatives, "_PAIRS", 3)
    np.testing.assert_allclose(parts.describe().along, kept, rtol=1e-5, atol=1e-6 * np.abs(kept).max())


def test_atoms_without_neighbours_only() -> None:
    parts = Parts([Atoms("Cu"), Atoms("Cu", cell=[20, 20, 20], pbc=True)], soap())
    data = parts.describe()
    forces, stress = forces_and_stress(parts.slopes(data), whole(data))
    assert forces.shape == (2, 3, 3) and not forces.any() and not stress.any()


def test_elements_may_differ_in_their_number_of_inputs() -> None:
    """One gold atom varies in fewer directions than nine of copper."""
    parts = Parts([*crystals(2, symbols="Cu3Au")], soap(["Cu", "Au"]))
    widths = {z: i.projection.shape[1] for z, i in parts.inputs.items()}
    assert widths[79] < widths[29]
    data = parts.describe()
    gold = data.numbers == 79
    assert not data.inputs[gold][:, widths[79] :].any() and data.inputs[~gold][:, widths[79] :].any()


def test_progress_counts_structures() -> None:
    parts, told = Parts(crystals(18), soap()), []
    derivatives.describe(Descriptions(parts.features, parts.structures), parts.inputs, lambda *a: told.append(a))
    assert told == [("derivatives", k, 18) for k in (8, 16, 18)]

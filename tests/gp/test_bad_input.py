"""Every bad input has an answer: an error before any work that names the frame and its file, or a stated behaviour."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from kernpot import SOAPKernel, SparseGPPotential, read_structures
from kernpot.descriptors import SOAPFeatures
from kernpot.errors import (
    DescriptorError,
    InducingWarning,
    KernpotError,
    KernpotWarning,
    MemoryLimitError,
    NotSmoothError,
    StructureError,
)
from kernpot.parallel import memory
from tests.helpers.systems import cluster, crystals, soap


def estimator(**changes: Any) -> SparseGPPotential:
    return SparseGPPotential(**({"descriptor": soap(), "n_inducing": 6, "random_state": 0} | changes))


@pytest.fixture
def frames(tmp_path: Path) -> list[Atoms]:
    """Five labelled frames of a file, as read_structures gives them; the fourth is a cluster."""
    good = [*crystals(3), cluster(), crystals(1, seed=4)[0]]
    write(tmp_path / "train.xyz", good)
    return read_structures(tmp_path / "train.xyz")


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RaisesExc[Any]]:
    """Like pytest.raises, but computing a single feature counts as work, and so does progress."""

    def work(*_: Any) -> None:
        raise AssertionError("work was started before the input was refused")

    monkeypatch.setattr(SOAPFeatures, "environments", work)
    return lambda error, *parts: pytest.raises(error, match=".*".join(re.escape(p) for p in parts))


def fit(frames: list[Atoms], **changes: Any) -> SparseGPPotential:
    def progress(*_: Any) -> None:
        raise AssertionError("progress was reported before the input was refused")

    return estimator(progress=progress, **changes).fit(frames)


# ------------------------------------------------------------------ structures


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_positions_that_are_not_finite(frames: list[Atoms], refusal: Any, value: float) -> None:
    frames[2].positions[1, 2] = value
    with refusal(StructureError, "train.xyz#2: atom 1 has position", "expected finite"):
        fit(frames)


def test_cell_that_is_not_finite(frames: list[Atoms], refusal: Any) -> None:
    frames[4].cell[0, 0] = np.nan
    with refusal(StructureError, "train.xyz#4: the cell", "is not finite"):
        fit(frames)


def test_zero_volume_with_pbc(frames: list[Atoms], refusal: Any) -> None:
    frames[1].cell[2] = frames[1].cell[0] + frames[1].cell[1]
    with refusal(StructureError, "train.xyz#1: the periodic cell vectors", "span zero volume"):
        fit(frames)
    frames[1].cell[2] = 0
    with refusal(StructureError, "train.xyz#1: periodic in direction c", "Set a cell"):
        fit(frames)


def test_atoms_on_top_of_each_other(frames: list[Atoms], refusal: Any) -> None:
    frames[3].positions[1] = frames[3].positions[0] + [0.01, 0, 0]
    with refusal(StructureError, "train.xyz#3: atoms 0 and 1 are 0.01 A apart"):
        fit(frames)


def test_cell_thinner_than_an_atom(frames: list[Atoms], refusal: Any) -> None:
    frames[0].set_cell(frames[0].cell.array * [[1], [1], [0.02]])
    with refusal(StructureError, "train.xyz#0: periodic in direction c", "that cell vector has length 0.07"):
        fit(frames)


def test_no_structures(refusal: Any) -> None:
    with refusal(StructureError, "expected at least one structure, got an empty list"):
        fit([])


def test_one_structure_instead_of_a_list(frames: list[Atoms], refusal: Any) -> None:
    with refusal(StructureError, "got a single one; write [atoms]"):
        fit(frames[0])  # type: ignore[arg-type]


def test_structure_without_atoms(frames: list[Atoms], refusal: Any) -> None:
    frames[2] = Atoms()
    with refusal(StructureError, "structures[2]: the structure has no atoms"):
        fit(frames)


def test_something_else_than_atoms(frames: list[Atoms], refusal: Any) -> None:
    with refusal(StructureError, "structures[5]: expected an ase.Atoms object, got str"):
        fit([*frames, "Cu.xyz"])  # type: ignore[list-item]


def test_placeholder_element(frames: list[Atoms], refusal: Any) -> None:
    frames[0].numbers[2] = 0
    with refusal(StructureError, "train.xyz#0: atom 2 has atomic number 0"):
        fit(frames)


# ------------------------------------------------------------------ labels


def relabelled(atoms: Atoms, **labels: Any) -> None:
    atoms.calc = SinglePointCalculator(atoms, **(atoms.calc.results | labels))


@pytest.mark.wrong_input("Labels", "infinite forces", "refused")
def test_infinite_forces(frames: list[Atoms], refusal: Any) -> None:
    forces = np.array(frames[1].calc.results["forces"])
    forces[0, 0] = np.inf
    relabelled(frames[1], forces=forces)
    with refusal(StructureError, "train.xyz#1: forces has 1 infinite value(s) of 12"):
        fit(frames)


@pytest.mark.wrong_input("Labels", "an energy that is NaN or infinite", "refused")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_energies_that_are_not_finite(frames: list[Atoms], refusal: Any, value: float) -> None:
    frames[1].calc = SinglePointCalculator(frames[1], energy=value)
    with refusal(StructureError, "#1: energy has 1 NaN or infinite"):
        fit(frames)


@pytest.mark.wrong_input("Labels", "infinite stress", "refused")
def test_stress_that_is_not_finite(frames: list[Atoms], refusal: Any) -> None:
    with refusal(StructureError, "train.xyz#0: stress has 2 infinite"):
        estimator().fit(frames, stress=[[np.inf, np.inf, 0, 0, 0, 0], None, None, None, None])


def test_forces_of_the_wrong_shape(frames: list[Atoms], refusal: Any) -> None:
    forces = [np.zeros((4, 3))] * 4 + [np.zeros((3, 4))]
    with refusal(StructureError, "train.xyz#4: forces have shape (3, 4), expected (4, 3)"):
        estimator().fit(frames, forces=forces)


def test_stress_of_the_wrong_shape(frames: list[Atoms], refusal: Any) -> None:
    with refusal(StructureError, "train.xyz#2: stress has shape (5,)", "xx, yy, zz, yz, xz, xy"):
        estimator().fit(frames, stress=[None, None, np.zeros(5), None, None])


def test_stress_of_a_molecule(frames: list[Atoms], refusal: Any) -> None:
    with refusal(StructureError, "train.xyz#3: has a stress label but pbc is FFF"):
        estimator().fit(frames, stress=[None, None, None, np.zeros(6), None])


def test_no_energies_at_all(frames: list[Atoms], refusal: Any) -> None:
    for atoms in frames:
        del atoms.calc.results["energy"]
    with refusal(StructureError, "none of the 5 structures (from", "train.xyz#0 on) has an energy", "energy_key"):
        fit(frames)


def test_too_few_energies(frames: list[Atoms], refusal: Any) -> None:
    with refusal(StructureError, "energies: got 3 entries for 5 structures"):
        estimator().fit(frames, energies=[1.0, 2.0, 3.0])


def test_labels_of_another_geometry(frames: list[Atoms], refusal: Any) -> None:
    frames[2].positions += 0.1 * np.arange(12).reshape(4, 3)
    with refusal(StructureError, "train.xyz#2", "belong to another geometry"):
        fit(frames)


def test_noise_scale_that_makes_no_sense(frames: list[Atoms], refusal: Any) -> None:
    frames[1].info["noise_scale"] = -1.0
    with refusal(StructureError, "train.xyz#1: noise_scale for energy is -1.0, expected a positive number"):
        fit(frames)


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("changes", "error", "parts"),
    [
        ({"n_inducing": 0}, KernpotError, ["n_inducing must be 'auto' or a positive integer, got 0"]),
        ({"n_inducing": 2.5}, KernpotError, ["n_inducing must be 'auto' or a positive integer, got 2.5"]),
        ({"n_components": 0}, KernpotError, ["n_components must be None", "positive integer, got 0"]),
        ({"n_components": 2.5}, KernpotError, ["n_components must be None", "positive integer, got 2.5"]),
        ({"inducing": "best"}, KernpotError, ["inducing must be one of auto, fps", "got 'best'"]),
        ({"descriptor": []}, DescriptorError, ["at least one descriptor, got an empty list"]),
        ({"descriptor": "soap"}, DescriptorError, ["expected a dscribe.descriptors.SOAP", "got 'soap'"]),
        ({"descriptor": soap(["Au"])}, DescriptorError, ["train.xyz#0: elements ['Cu'] are not among"]),
        (
            {"descriptor": soap(periodic=False)},
            DescriptorError,
            ["train.xyz#0: the structure is periodic", "periodic=True"],
        ),
        ({"descriptor": soap(weighting={})}, NotSmoothError, ["Write instead"]),
        ({"kernel": [SOAPKernel(2)] * 2}, KernpotError, ["one per descriptor (1), got 2"]),
        ({"kernel": "rbf"}, KernpotError, ["expected a SOAPKernel", "got 'rbf'"]),
        ({"noise": {"force": 0.1}}, ValueError, ["unknown keys ['force']"]),
        ({"noise": {"forces": -0.1}}, ValueError, ["forces must be a positive number"]),
        ({"noise": {"config_type": {"bulk": {}}}}, StructureError, ["config_type ['bulk'], which no structure has"]),
        ({"isolated_atoms": {"Xx": 1.0}}, StructureError, ["'Xx' is no element"]),
        ({"isolated_atoms": {"Cu": np.nan}}, StructureError, ["Cu has nan, expected a finite energy"]),
        pytest.param(
            {"isolated_atoms": {29.7: 1.0}},
            StructureError,
            ["isolated_atoms: 29.7 is no element"],
            marks=pytest.mark.wrong_input("Settings", "isolated_atoms of the element 29.7", "refused"),
        ),
        pytest.param(
            {"isolated_atoms": {500: 1.0}},
            StructureError,
            ["isolated_atoms: 500 is no element"],
            marks=pytest.mark.wrong_input("Settings", "isolated_atoms of the element 500", "refused"),
        ),
        pytest.param(
            {"isolated_atoms": {"Cu": True}},
            StructureError,
            ["Cu has True, expected a finite energy"],
            marks=pytest.mark.wrong_input("Settings", "isolated_atoms with a truth value for an energy", "refused"),
        ),
        pytest.param(
            {"isolated_atoms": {"Cu": 1j}},
            StructureError,
            ["Cu has 1j, expected a finite energy"],
            marks=pytest.mark.wrong_input("Settings", "isolated_atoms with a complex energy", "refused"),
        ),
        pytest.param(
            {"isolated_atoms": {"Cu": 3.0, 29: 3.1}},
            StructureError,
            ["Cu is given twice"],
            marks=pytest.mark.wrong_input(
                "Settings", "isolated_atoms with an element by symbol and by number", "refused"
            ),
        ),
        pytest.param(
            {"isolated_atoms": [3.0]},
            StructureError,
            ["must map symbols"],
            marks=pytest.mark.wrong_input("Settings", "isolated_atoms that is a list", "refused"),
        ),
        pytest.param(
            {"noise": {"energy": 1e300}},
            ValueError,
            ["energy must lie between 1e-08 and 1e+08, got 1e+300"],
            marks=pytest.mark.wrong_input("Settings", "a noise level of 1e300", "refused"),
        ),
        ({"n_jobs": True}, KernpotError, ["n_jobs must be None or a number of processes", "got True"]),
        ({"n_jobs": 10**9}, KernpotError, ["n_jobs must be None or a number of processes"]),
        ({"inducing": []}, KernpotError, ["non-empty list of structures"]),
        ({"inducing": [Atoms("Au")]}, StructureError, ["inducing: the structures hold environments of ['Au']"]),
        ({"inducing": [Atoms("Cu2")]}, StructureError, ["inducing[0]: atoms 0 and 1 are 0 A apart"]),
    ],
)
def test_settings(frames: list[Atoms], refusal: Any, changes: dict[str, Any], error: type, parts: list[str]) -> None:
    with refusal(error, *parts):
        fit(frames, **changes)


def test_fewer_inducing_environments_than_elements() -> None:
    with pytest.raises(KernpotError, match="n_inducing=1 is too few: 2 elements and 1 descriptors need at least 2"):
        fit(crystals(2, symbols="Cu2Au2"), descriptor=soap(["Cu", "Au"]), n_inducing=1)


@pytest.mark.parametrize(
    ("labels", "parts"),
    [
        pytest.param(
            {"energies": [True, 1.0, 1.0, 1.0, 1.0]},
            ["#0: energy is not numeric", "truth values"],
            marks=pytest.mark.wrong_input("Labels", "an energy that is a truth value", "refused"),
        ),
        pytest.param(
            {"forces": [np.zeros((4, 3), complex), *[None] * 4]},
            ["#0: forces is not numeric", "complex numbers"],
            marks=pytest.mark.wrong_input("Labels", "complex forces", "refused"),
        ),
        pytest.param(
            {"energies": [1e300, 1.0, 1.0, 1.0, 1.0]},
            ["#0: the energy is 1e+300 eV"],
            marks=pytest.mark.wrong_input("Labels", "an energy of 1e300 eV", "refused"),
        ),
    ],
)
def test_labels_that_are_no_numbers(
    frames: list[Atoms], refusal: Any, labels: dict[str, Any], parts: list[str]
) -> None:
    with refusal(StructureError, *parts):
        estimator().fit(frames, **labels)


@pytest.mark.wrong_input("Labels", "a noise_scale of 1e300", "refused")
def test_noise_scale_beyond_reason(frames: list[Atoms], refusal: Any) -> None:
    frames[1].info["noise_scale"] = 1e300
    with refusal(StructureError, "#1: noise_scale for energy is 1e+300, expected a positive number"):
        fit(frames)


# ------------------------------------------------------------------ stated behaviours


def test_more_inducing_environments_than_there_are(frames: list[Atoms]) -> None:
    """Eighteen features leave nothing for displaced copies to add."""
    with pytest.warns(InducingWarning, match="20 inducing environments are used instead of 1000"):
        gp = estimator(n_inducing=1000).fit(frames)
    assert gp.n_inducing_ == 20


def test_structures_without_neighbours() -> None:
    """Lone atoms have an environment, that of nothing: a fit to them knows that energy and is unsure of all else."""
    lone = Atoms("Cu", cell=[20, 20, 20], pbc=True)
    lone.calc = SinglePointCalculator(lone, energy=-1.5, forces=np.zeros((1, 3)))
    apart = Atoms("Cu2", [[0, 0, 0], [0, 0, 9]])
    apart.calc = SinglePointCalculator(apart, energy=-3.0, forces=np.zeros((2, 3)))
    with pytest.warns(KernpotWarning):
        gp = estimator(optimize=False).fit([lone, apart])
    assert gp.isolated_atoms_[29] == -1.5
    p = gp.predict_full([lone, apart, cluster()])
    assert float(p[0].energy.mean) == pytest.approx(-1.5, abs=1e-6)
    assert float(p[1].energy.mean) == pytest.approx(-3.0, abs=1e-6)
    np.testing.assert_allclose(p[1].forces.mean, 0.0, atol=1e-12)
    np.testing.assert_allclose(p[1].forces.epistemic_std, 0.0, atol=1e-6)
    assert float(p[2].energy.epistemic_std) > 100 * float(p[1].energy.epistemic_std)


def test_some_structures_without_neighbours(frames: list[Atoms]) -> None:
    lone = Atoms("Cu")
    lone.calc = SinglePointCalculator(lone, energy=3.2)
    gp = estimator(n_inducing=12, noise={"energy": 0.001}).fit([*frames, lone])
    assert gp.isolated_atoms_[29] == 3.2
    assert float(gp.predict([lone])[0]) == pytest.approx(3.2, abs=0.01)


@pytest.mark.filterwarnings("ignore:no structure has stress labels")
def test_labels_without_variation(frames: list[Atoms]) -> None:
    """All energies and forces zero: the answer is zero, and the amplitude is said to be a guess."""
    for atoms in frames:
        results = {k: np.zeros_like(v) if k != "energy" else 0.0 for k, v in atoms.calc.results.items()}
        atoms.calc = SinglePointCalculator(atoms, **results)
    with pytest.warns(KernpotWarning, match="explained no better than by a constant"):
        gp = estimator().fit(frames)
    np.testing.assert_allclose(gp.predict(frames), 0.0, atol=1e-6)
    assert np.isfinite(gp.predict(frames, return_std=True)[1]).all()


def test_the_same_structure_many_times(frames: list[Atoms]) -> None:
    with pytest.warns(KernpotWarning, match="6 of 7 structures occur a second time"):
        gp = estimator(n_inducing=4).fit([frames[0]] * 7)
    assert np.isfinite(gp.predict_full(frames)[0].forces.std).all()


# ------------------------------------------------------------------ prediction


@pytest.fixture(scope="module")
def fitted() -> SparseGPPotential:
    return SparseGPPotential(soap(["Cu", "Au", "Ag"]), n_inducing=12, random_state=0).fit(crystals(6, symbols="Cu3Au"))


@pytest.mark.parametrize("method", ["predict", "predict_full", "score"])
def test_prediction_of_unknown_elements(fitted: SparseGPPotential, refusal: Any, method: str) -> None:
    """Silver is in the descriptor, but no structure showed it."""
    new = crystals(2, symbols="Cu3Ag")
    with refusal(StructureError, "elements ['Ag'] were not in the fit (['Cu', 'Au'])"):
        getattr(fitted, method)(new)
    with refusal(StructureError, "elements ['Ag'] were not in the fit"):
        fitted.mean(new[0])
    new[1].calc = fitted.calculator()
    with refusal(StructureError, "Ag"):
        new[1].get_potential_energy()


def test_prediction_names_the_file(fitted: SparseGPPotential, frames: list[Atoms], refusal: Any) -> None:
    frames[4].positions[0, 0] = np.nan
    with refusal(StructureError, "train.xyz#4: atom 0 has position"):
        fitted.predict(frames)


@pytest.mark.parametrize("method", ["predict", "predict_full"])
def test_prediction_of_broken_structures(fitted: SparseGPPotential, refusal: Any, method: str) -> None:
    good = crystals(1)[0].copy()
    lost, flat, stacked = good.copy(), good.copy(), good.copy()
    lost.positions[3] = np.inf
    flat.cell[1] = flat.cell[0]
    stacked.positions[1] = stacked.positions[0]
    for bad, message in (
        (lost, "atom 3 has position"),
        (flat, "zero volume"),
        (stacked, "atoms 0 and 1 are 0 A apart"),
    ):
        with refusal(StructureError, f"structures[1]: {message}" if bad is not flat else "structures[1]"):
            getattr(fitted, method)([good, bad])


def test_prediction_of_nothing(fitted: SparseGPPotential) -> None:
    assert fitted.predict([]).shape == (0,)
    assert [x.shape for x in fitted.predict([], return_std=True)] == [(0,), (0,)]
    assert fitted.predict_full([]) == []


@pytest.mark.wrong_input("Settings", "optimize that is no truth value, such as 'no'", "refused")
@pytest.mark.parametrize("optimize", ["no", 0, None, 1.0])
def test_optimize_that_is_no_truth_value(frames: list[Atoms], refusal: Any, optimize: Any) -> None:
    with refusal(KernpotError, "optimize must be True or False, got", repr(optimize)):
        fit(frames, optimize=optimize)


# ------------------------------------------------------------------ memory


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """One gigabyte is left."""
    monkeypatch.setattr(memory, "available", lambda: 10**9)


@pytest.mark.wrong_input("Settings", "more inducing environments than there is memory for", "refused")
def test_inducing_environments_beyond_memory(refusal: Any, little_memory: None) -> None:
    """Estimated for as many as the structures can give, whatever was asked for."""
    many = crystals(2) * 100
    with refusal(MemoryLimitError, "a fit with 20000 inducing environments", "1 GB are available", "n_inducing"):
        fit(many, n_inducing=20_000)


@pytest.mark.wrong_input("Settings", "n_inducing of a million for a few structures", "warned")
def test_a_million_inducing_environments_of_forty(frames: list[Atoms]) -> None:
    """Displaced copies are no more than say something: it ends at once, and in little memory."""
    with pytest.warns(InducingWarning, match=r"\d+ inducing environments are used instead of 1000000"):
        gp = estimator(n_inducing=10**6, optimize=False, trust_labels=True).fit(frames)
    assert gp.n_inducing_ < 200


@pytest.mark.wrong_input("Settings", "a cutoff with more neighbours than there is memory for", "refused")
def test_cutoff_beyond_memory(frames: list[Atoms], refusal: Any, little_memory: None) -> None:
    with refusal(MemoryLimitError, "train.xyz#0: the forces on an atom with some", "within 50 A", "smaller cutoff"):
        fit(frames, descriptor=soap(cutoff=50.0))


@pytest.mark.wrong_input("Settings", "more draws than there is memory for", "refused")
def test_draws_beyond_memory(fitted: SparseGPPotential, little_memory: None) -> None:
    with pytest.raises(MemoryLimitError, match=r"1000000000 draws need.*Take fewer"):
        fitted.sample_potentials(10**9)

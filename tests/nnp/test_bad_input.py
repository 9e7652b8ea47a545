"""Every bad input has an answer: an error before any work that names the frame or the parameter."""

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

from kernpot import NNPEnsemble, read_structures
from kernpot.descriptors import SOAPFeatures
from kernpot.errors import DescriptorError, KernpotError, MemoryLimitError, NotSmoothError, StructureError
from kernpot.parallel import memory
from tests.helpers.systems import cluster, crystals, soap
from tests.nnp.small import SMALL, UNCERTAINTIES, acsf, estimator


@pytest.fixture
def frames(tmp_path: Path) -> list[Atoms]:
    """Five labelled frames of a file, as read_structures gives them; the fourth is a cluster."""
    write(tmp_path / "train.xyz", [*crystals(3), cluster(), crystals(1, seed=4)[0]])
    return read_structures(tmp_path / "train.xyz")


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RaisesExc[Any]]:
    """Like pytest.raises, but computing a single feature counts as work."""

    def work(*_: Any) -> None:
        raise AssertionError("work was started before the input was refused")

    monkeypatch.setattr(SOAPFeatures, "environments", work)
    return lambda error, *parts: pytest.raises(error, match=".*".join(re.escape(p) for p in parts))


def fit(frames: Any, **changes: Any) -> NNPEnsemble:
    def progress(*_: Any) -> None:
        raise AssertionError("progress was reported before the input was refused")

    return estimator(**({"progress": progress} | changes)).fit(frames)


# ------------------------------------------------------------------ structures and labels


def spoilt(how: str, frames: list[Atoms]) -> Any:
    if how == "positions":
        frames[2].positions[1, 2] = np.nan
    elif how == "cell":
        frames[4].cell[0, 0] = np.inf
    elif how == "volume":
        frames[1].cell[2] = frames[1].cell[0] + frames[1].cell[1]
    elif how == "overlap":
        frames[3].positions[1] = frames[3].positions[0] + [0.01, 0, 0]
    elif how == "placeholder":
        frames[0].numbers[2] = 0
    elif how == "geometry":
        frames[2].positions += 0.1 * np.arange(12).reshape(4, 3)
    elif how == "scale":
        frames[1].info["noise_scale"] = -1.0
    elif how == "energies":
        for atoms in frames:
            del atoms.calc.results["energy"]
    elif how == "label":
        results = frames[1].calc.results | {"forces": np.full((4, 3), np.inf)}
        frames[1].calc = SinglePointCalculator(frames[1], **results)
    elif how == "element":
        frames[3].numbers[0] = 79
        frames[3].calc = None
    elif how == "atoms":
        frames[2] = Atoms()
    elif how == "text":
        return [*frames, "Cu.xyz"]
    elif how == "empty":
        return []
    elif how == "single":
        return frames[0]
    return frames


@pytest.mark.parametrize(
    ("how", "error", "parts"),
    [
        ("positions", StructureError, ["train.xyz#2: atom 1 has position", "expected finite"]),
        ("cell", StructureError, ["train.xyz#4: the cell", "is not finite"]),
        ("volume", StructureError, ["train.xyz#1: the periodic cell vectors", "span zero volume"]),
        ("overlap", StructureError, ["train.xyz#3: atoms 0 and 1 are 0.01 A apart"]),
        ("placeholder", StructureError, ["train.xyz#0: atom 2 has atomic number 0"]),
        ("geometry", StructureError, ["train.xyz#2", "belong to another geometry"]),
        ("scale", StructureError, ["train.xyz#1: noise_scale for energy is -1.0"]),
        ("energies", StructureError, ["none of the 5 structures", "has an energy"]),
        ("label", StructureError, ["train.xyz#1: forces has 12 infinite"]),
        ("element", DescriptorError, ["train.xyz#3: elements ['Au'] are not among the descriptor's ['Cu']"]),
        ("atoms", StructureError, ["structures[2]: the structure has no atoms"]),
        ("text", StructureError, ["structures[5]: expected an ase.Atoms object, got str"]),
        ("empty", StructureError, ["at least one structure, got an empty list"]),
        ("single", StructureError, ["got a single one; write [atoms]"]),
    ],
)
def test_structures(frames: list[Atoms], refusal: Any, how: str, error: type, parts: list[str]) -> None:
    given = spoilt(how, frames)
    with refusal(error, *parts):
        fit(given)


def test_labels_of_the_wrong_shape(frames: list[Atoms], refusal: Any) -> None:
    with refusal(StructureError, "train.xyz#4: forces have shape (3, 4), expected (4, 3)"):
        estimator().fit(frames, forces=[np.zeros((4, 3))] * 4 + [np.zeros((3, 4))])
    with refusal(StructureError, "train.xyz#2: stress has shape (5,)"):
        estimator().fit(frames, stress=[None, None, np.zeros(5), None, None])
    with refusal(StructureError, "train.xyz#3: has a stress label but pbc is FFF"):
        estimator().fit(frames, stress=[None, None, None, np.zeros(6), None])
    with refusal(StructureError, "energies: got 3 entries for 5 structures"):
        estimator().fit(frames, energies=[1.0, 2.0, 3.0])
    with refusal(StructureError, "train.xyz#1: energy has 1 NaN"):
        estimator().fit(frames, energies=[1.0, np.nan, 3.0, 4.0, 5.0])


# ------------------------------------------------------------------ parameters

PARAMETERS: list[tuple[dict[str, Any], type, list[str]]] = [
    *(({"hidden": h}, KernpotError, ["hidden must be the widths"]) for h in ((), [0], [3.5], "32", 32, None, [True])),
    *(
        ({"n_members": n}, KernpotError, ["n_members must be a whole number, 2 or more"])
        for n in (1, 0, 2.5, None, "8")
    ),
    *(({"n_components": n}, KernpotError, ["n_components must be a whole number, 1 or more"]) for n in (0, 2.5, None)),
    *(({"batch_size": n}, KernpotError, ["batch_size must be a whole number, 1 or more"]) for n in (0, -3, 2.5, True)),
    *(({"max_epochs": n}, KernpotError, ["max_epochs must be None or a positive"]) for n in (0, -1, 10.0, "many")),
    *(({"patience": n}, KernpotError, ["patience must be None or a positive"]) for n in (0, 1.5, True)),
    *(
        ({"learning_rate": x}, KernpotError, ["learning_rate must lie between 0 and 1"])
        for x in (0, 1.0, -0.1, np.nan, np.inf, "fast", None, True)
    ),
    *(
        ({"validation": x}, KernpotError, ["validation must be a part"])
        for x in (-0.1, 0.6, np.nan, None, "some", True)
    ),
    *(({"uncertainty": x}, KernpotError, ["uncertainty must be one of 'ensemble'"]) for x in ("dropout", None, 3)),
    *(
        ({"resample": x}, KernpotError, ["resample must be one of None, 'bootstrap', 'split'"])
        for x in ("jackknife", 0)
    ),
    *(({"schedule": x}, KernpotError, ["schedule must be one of 'cosine', 'plateau'"]) for x in ("step", None)),
    ({"activation": "relu"}, NotSmoothError, ["activation='relu' has a kink", "Write one of"]),
    ({"activation": "mish"}, KernpotError, ["activation must be one of 'silu'", "got 'mish'"]),
    ({"activation": None}, KernpotError, ["activation must be one of"]),
    ({"progress": "yes"}, KernpotError, ["progress must be True, False or a callable"]),
    ({"checkpoint": 3}, KernpotError, ["checkpoint must be None or the path of a file, got 3"]),
    ({"checkpoint": "/no/such/folder/a"}, KernpotError, ["checkpoint must be a file in a folder that exists"]),
    ({"checkpoint": "."}, KernpotError, ["checkpoint must be a file in a folder that exists"]),
    *(
        ({"random_state": x}, KernpotError, ["random_state must be None, a whole number"])
        for x in ("a", -1, 1.5, 2**40)
    ),
    ({"isolated_atoms": {"Cu": "low"}}, KernpotError, ["isolated_atoms: Cu has 'low', expected a finite energy"]),
    ({"isolated_atoms": {"Cu": np.nan}}, KernpotError, ["isolated_atoms: Cu has nan, expected a finite energy"]),
    ({"isolated_atoms": {29.7: 1.0}}, KernpotError, ["isolated_atoms: 29.7 is no element"]),
    ({"isolated_atoms": [3.0]}, KernpotError, ["isolated_atoms must map symbols"]),
    ({"isolated_atoms": {"Xx": 1.0}}, StructureError, ["'Xx' is no element"]),
    ({"noise": {"force": 0.1}}, ValueError, ["unknown keys ['force']"]),
    ({"noise": {"forces": -0.1}}, ValueError, ["forces must be a positive number"]),
    ({"noise": {"config_type": {"bulk": {}}}}, StructureError, ["config_type ['bulk'], which no structure has"]),
    ({"descriptor": "soap"}, DescriptorError, ["expected"]),
    ({"descriptor": [soap()]}, DescriptorError, ["expected one descriptor, got a list"]),
    ({"descriptor": soap(["Au"])}, DescriptorError, ["train.xyz#0: elements ['Cu'] are not among"]),
    ({"descriptor": soap(periodic=False)}, DescriptorError, ["train.xyz#0: the structure is periodic"]),
    ({"descriptor": soap(weighting={})}, NotSmoothError, ["Write instead"]),
    ({"descriptor": acsf(["Au"])}, DescriptorError, ["train.xyz#0: elements ['Cu'] are not among"]),
]


@pytest.mark.parametrize(("changes", "error", "parts"), PARAMETERS)
def test_parameters(frames: list[Atoms], refusal: Any, changes: dict[str, Any], error: type, parts: list[str]) -> None:
    with refusal(error, *parts):
        fit(frames, **changes)


@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
def test_refused_refits_leave_the_old_fit(uncertainty: str) -> None:
    frames = crystals(5)
    nnp = estimator(uncertainty=uncertainty, max_epochs=2).fit(frames)
    before, state = nnp.predict(frames, True), dict(vars(nnp))
    given = nnp.get_params(deep=False)
    for changes, _, _ in PARAMETERS:
        with pytest.raises((KernpotError, ValueError)):
            nnp.set_params(**changes).fit(frames)
        nnp.set_params(**given)
    for how in ("positions", "overlap", "label", "element", "empty"):
        with pytest.raises(StructureError if how != "element" else DescriptorError):
            nnp.fit(spoilt(how, crystals(5)))
    np.testing.assert_array_equal(nnp.predict(frames, True), before)
    assert all(vars(nnp)[name] is value for name, value in state.items())


def test_a_refit_that_fails_on_the_way_leaves_the_old_fit() -> None:
    frames = crystals(5)
    nnp = estimator(max_epochs=2).fit(frames)
    before, fitted = nnp.predict(frames, True), nnp.fitted_
    with pytest.raises(ArithmeticError, match="diverged"):
        nnp.set_params(noise={"energy": 1e-8}).fit(frames, energies=[1e12, -1e12, 0.0, 1e12, 3.0])
    np.testing.assert_array_equal(nnp.predict(frames, True), before)
    assert nnp.fitted_ is fitted


# ------------------------------------------------------------------ prediction


@pytest.fixture(scope="module")
def fitted() -> NNPEnsemble:
    return NNPEnsemble(soap(["Cu", "Au", "Ag"]), **(SMALL | {"max_epochs": 2})).fit(crystals(6, symbols="Cu3Au"))


@pytest.mark.parametrize("method", ["predict", "predict_full", "score", "calibrate", "partial_fit", "update"])
def test_unknown_elements(fitted: NNPEnsemble, refusal: Any, method: str) -> None:
    """Silver is in the descriptor, but no structure showed it."""
    new = [*crystals(5, 3, symbols="Cu3Au"), *crystals(1, symbols="Cu3Ag")]
    given = new[5:] if method == "score" else new
    with refusal(StructureError, "elements ['Ag'] were not in the fit (['Cu', 'Au'])"):
        getattr(fitted, method)(given)
    for single in (fitted.mean, fitted.energy_std, fitted.sample_potentials(2)[0].mean):
        with refusal(StructureError, "elements ['Ag'] were not in the fit"):
            single(new[5])
    new[5].calc = fitted.calculator()
    with refusal(StructureError, "Ag"):
        new[5].get_potential_energy()


def test_prediction_names_the_file(fitted: NNPEnsemble, frames: list[Atoms], refusal: Any) -> None:
    frames[4].positions[0, 0] = np.nan
    with refusal(StructureError, "train.xyz#4: atom 0 has position"):
        fitted.predict(frames)


@pytest.mark.parametrize("method", ["predict", "predict_full"])
def test_prediction_of_broken_structures(fitted: NNPEnsemble, refusal: Any, method: str) -> None:
    good = crystals(1)[0].copy()
    lost, flat, stacked = good.copy(), good.copy(), good.copy()
    lost.positions[3] = np.inf
    flat.cell[1] = flat.cell[0]
    stacked.positions[1] = stacked.positions[0]
    for bad, parts in (
        (lost, ["structures[1]: atom 3 has position"]),
        (flat, ["structures[1]", "zero volume"]),
        (stacked, ["structures[1]: atoms 0 and 1 are 0 A apart"]),
        (Atoms(), ["structures[1]: the structure has no atoms"]),
    ):
        with refusal(StructureError, *parts):
            getattr(fitted, method)([good, bad])


def test_energies_to_score_by(fitted: NNPEnsemble, refusal: Any) -> None:
    with refusal(StructureError, "has an energy"):
        fitted.score([crystals(1)[0].copy()])
    with refusal(StructureError, "empty list"):
        fitted.score([])


@pytest.mark.wrong_input("Settings", "networks of a billion hidden units", "refused")
def test_networks_beyond_memory(frames: list[Atoms], refusal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    for changes in ({"hidden": (10**9,)}, {"hidden": (10**5, 10**5)}, {"n_members": 10**9}):
        with refusal(MemoryLimitError, "a training of", "1 GB are available", "narrower hidden layers"):
            fit(frames, **changes)

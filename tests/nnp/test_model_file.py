"""A fitted ensemble survives the model file unchanged, and nonsense in one is named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from safetensors.numpy import save_file

from kernpot import NNPEnsemble, load
from kernpot.errors import KernpotError, ModelFileError
from kernpot.files.container import read_model, write_model
from tests.helpers.systems import cluster, crystals, slab, soap
from tests.nnp.small import LAST_LAYER_OF, UNCERTAINTIES, acsf, estimator

FRAMES = [*crystals(6, symbols="Cu3Au"), slab(), cluster("Cu3Au")]
NEW = [crystals(1, seed=5, symbols="Cu2Au2")[0], slab(5), cluster("Cu2Au2", 3), Atoms("Au")]


def saved(tmp_path: Path, **changes: Any) -> tuple[NNPEnsemble, Path]:
    nnp = estimator("Cu", "Au", **changes).fit(FRAMES)
    path = tmp_path / "model.kernpot"
    nnp.save(path)
    return nnp, path


def require_identical(a: NNPEnsemble, b: NNPEnsemble, structures: list[Atoms] = NEW) -> None:
    """To the last bit."""
    for p, q in zip(a.predict_full(structures, True), b.predict_full(structures, True), strict=True):
        for name in ("energy", "energies", "forces", "stress"):
            x, y = getattr(p, name), getattr(q, name)
            for part in ("mean", "epistemic_std", "std"):
                if x is not None:
                    np.testing.assert_array_equal(getattr(x, part), getattr(y, part))
        assert p.covariance is not None and q.covariance is not None
        np.testing.assert_array_equal(p.covariance.total, q.covariance.total)
    np.testing.assert_array_equal(a.predict(structures, True), b.predict(structures, True))
    for atoms in structures:
        assert a.energy_std(atoms).std == b.energy_std(atoms).std
        for x, y in zip(a.sample_potentials(3, 0), b.sample_potentials(3, 0), strict=True):
            np.testing.assert_array_equal(x.mean(atoms).forces, y.mean(atoms).forces)


@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
@pytest.mark.parametrize("descriptor", [soap(["Cu", "Au"]), acsf(), None], ids=["soap", "acsf", "default"])
def test_loaded_is_the_same_to_the_bit(tmp_path: Path, uncertainty: str, descriptor: Any) -> None:
    nnp, path = saved(tmp_path, uncertainty=uncertainty, descriptor=descriptor, max_epochs=2)
    loaded = load(path)
    assert isinstance(loaded, NNPEnsemble)
    require_identical(nnp, loaded)
    for name in ("elements_", "isolated_atoms_", "noise_", "misfit_", "draw_scale_", "summary_", "cutoff"):
        assert getattr(loaded, name) == getattr(nnp, name), name
    assert (loaded.descriptor is None) == (descriptor is None)
    for a, b in zip(loaded.left_out(), nnp.left_out(), strict=True):
        np.testing.assert_array_equal(a.std, b.std)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": (5, 4, 3), "activation": "tanh"},
        {"noise": {"forces": 0.05, "config_type": {"": {"energy": 0.01}}}},
        {"isolated_atoms": {"Cu": 3.0, 79: 2.0, "Pt": 1.0}},
        {"resample": "split", "validation": 0},
        {"n_members": np.int64(2), "learning_rate": np.float64(0.02), "patience": 3, "schedule": "plateau"},
        {"random_state": np.random.RandomState(3)},
        {"hidden": [4], "batch_size": 1, "n_components": 3},
    ],
    ids=lambda c: next(iter(c)),
)
def test_parameters_survive(tmp_path: Path, changes: dict[str, Any]) -> None:
    nnp, path = saved(tmp_path, max_epochs=2, **changes)
    loaded = load(path)
    require_identical(nnp, loaded)
    a, b = nnp.get_params(), loaded.get_params()
    for name in set(a) - {"descriptor", "random_state", "noise", "isolated_atoms", "checkpoint", "progress"}:
        assert tuple(a[name]) == b[name] if name == "hidden" else a[name] == b[name], name
    if nnp.isolated_atoms is not None:
        assert loaded.isolated_atoms == {"Cu": 3.0, 79: 2.0, "Pt": 1.0}


@pytest.mark.parametrize("uncertainty", LAST_LAYER_OF)
def test_learning_and_calibration_go_on_after_loading(tmp_path: Path, uncertainty: str) -> None:
    nnp, path = saved(tmp_path, uncertainty=uncertainty)
    more = crystals(3, seed=7, symbols="CuAu3")
    loaded = load(path).partial_fit(more)
    require_identical(nnp.partial_fit(more), loaded)
    fresh = crystals(6, seed=8, symbols="Cu3Au")
    require_identical(nnp.calibrate(fresh), loaded.calibrate(fresh))
    assert loaded.summary_ == nnp.summary_
    loaded.save(tmp_path / "second.kernpot")
    require_identical(nnp, load(tmp_path / "second.kernpot"))
    assert (
        loaded.select(crystals(4, 9, symbols="Cu3Au"), 2).indices.tolist()
        == nnp.select(crystals(4, 9, symbols="Cu3Au"), 2).indices.tolist()
    )


def test_refit_of_a_loaded_ensemble_is_the_first_fit(tmp_path: Path) -> None:
    nnp, path = saved(tmp_path, noise={"forces": 0.05})
    require_identical(nnp, load(path).fit(FRAMES))


def test_calculator_of_a_loaded_model(tmp_path: Path) -> None:
    nnp, path = saved(tmp_path)
    atoms = NEW[0].copy()
    atoms.calc = load(path).calculator()
    np.testing.assert_array_equal(atoms.get_forces(), nnp.mean(NEW[0]).forces)


@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
def test_parameters_changed_after_the_fit_leave_the_file_readable(tmp_path: Path, uncertainty: str) -> None:
    """A file holds the networks as they are, and the parameters of the next fit."""
    nnp, path = saved(tmp_path, uncertainty=uncertainty)
    for other in UNCERTAINTIES:
        nnp.set_params(hidden=(3, 3), n_members=2, activation="tanh", uncertainty=other)
        nnp.save(path)
        loaded = load(path)
        require_identical(nnp, loaded)
        assert loaded.hidden == (3, 3) and loaded.uncertainty == other
        assert dict(read_model(path)[0]["sections"]["Networks"])["Uncertainty"] == uncertainty


def test_parameters_that_no_fit_would_take_are_not_written(tmp_path: Path) -> None:
    nnp, path = saved(tmp_path)
    content = path.read_bytes()
    with pytest.raises(KernpotError, match="hidden must be"):
        nnp.set_params(hidden="wide").save(path)
    assert path.read_bytes() == content


def test_header_says_what_the_model_is(tmp_path: Path) -> None:
    nnp, path = saved(tmp_path, hidden=(6, 5))
    header, _ = read_model(path)
    assert header["kind"] == "NNPEnsemble"
    assert header["units"] == {"energy": "eV", "length": "Angstrom", "forces": "eV/Angstrom", "stress": "eV/Angstrom^3"}
    assert header["descriptors"][0]["species"] == ["Cu", "Au"]
    assert header["noise"] == nnp.noise_
    assert header["networks"] == {"hidden": [6, 5], "members": 3, "bodies": 3, "activation": "silu"}
    assert dict(header["sections"]["Networks"])["Hidden layers"] == "6, 5"
    assert b"pickle" not in path.read_bytes().lower()


# ------------------------------------------------------------------ files that are not whole


def test_tampered_truncated_and_foreign_files(tmp_path: Path) -> None:
    _, path = saved(tmp_path, max_epochs=1)
    content = path.read_bytes()
    path.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
    with pytest.raises(ModelFileError, match="SHA-256"):
        load(path)
    for length in (0, 4, 500, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match=r"damaged|truncated|not a kernpot"):
            load(path)
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(ModelFileError, match="not a kernpot model"):
        load(path)


Contents = tuple[dict[str, Any], dict[str, np.ndarray]]


@pytest.fixture(scope="module", params=["shallow", "last_layer"])
def contents(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    path = saved(tmp_path_factory.mktemp("whole"), uncertainty=request.param, max_epochs=2, hidden=(6, 5))[1]
    header, tensors = read_model(path)
    del header["sha256"]
    return header, tensors


def refuse(tmp_path: Path, contents: Contents, forge: Callable[..., Any], message: str) -> None:
    header, tensors = copy.deepcopy(contents)
    forge(header, tensors)
    path = tmp_path / "forged.kernpot"
    write_model(path, header, tensors)
    with pytest.raises(ModelFileError, match=message):
        load(path)


def test_whole_contents_are_read(tmp_path: Path, contents: Contents) -> None:
    write_model(tmp_path / "whole.kernpot", *contents)
    assert np.isfinite(load(tmp_path / "whole.kernpot").predict(NEW, True)).all()


PARTS = [
    "elements", "isolated_atoms", "descriptors", "noise", "misfit", "noise_model", "parameters", "as_given", "networks",
    "scales", "held_out", "groups", "amplitude", "summary", "training",
]  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_file_without_a_part(tmp_path: Path, contents: Contents, part: str) -> None:
    refuse(tmp_path, contents, lambda h, _: h.pop(part), part)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("value", [None, 3, "x", [], {"x": "y"}], ids=repr)
def test_part_of_another_kind(tmp_path: Path, contents: Contents, part: str, value: Any) -> None:
    """Never anything but a ModelFileError; or the part may well be so."""
    header, tensors = copy.deepcopy(contents)
    header[part] = value
    write_model(tmp_path / "forged.kernpot", header, tensors)
    try:
        load(tmp_path / "forged.kernpot").predict(NEW, True)
    except ModelFileError:
        return
    assert (part, value) in [
        ("amplitude", 3),
        ("noise_model", {}),
        ("summary", []),
        ("summary", {}),
        ("summary", {"x": "y"}),
        ("held_out", []),
        ("held_out", 3),
        ("groups", []),
        ("groups", {}),
    ], "nonsense was accepted"


def test_any_tensor_is_missed(tmp_path: Path, contents: Contents) -> None:
    for name in contents[1]:
        refuse(tmp_path, contents, lambda _, t, n=name: t.pop(n), name.replace(".", r"\."))


def test_any_tensor_of_another_shape_is_named(tmp_path: Path, contents: Contents) -> None:
    for name, array in contents[1].items():
        if array.ndim and array.shape[0] > 1 and not name.startswith("training") and "n_rows" not in name:
            # A transposed square triangle or one row less never fits.
            refuse(tmp_path, contents, lambda _, t, n=name: t.update({n: t[n][1:].copy()}), name.replace(".", r"\."))


def test_numbers_that_are_not_finite(tmp_path: Path, contents: Contents) -> None:
    for name, array in contents[1].items():
        if array.dtype == np.float64 and array.size and not name.startswith("training"):
            spoilt = array.copy()
            spoilt.flat[0] = np.nan
            refuse(tmp_path, contents, lambda _, t, n=name, a=spoilt: t.update({n: a}), r"not finite|residual")


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda h, _: h.update(misfit={}), "misfit.*energy, forces, stress"),
        (lambda h, _: h["misfit"].update(energy={"constant": -1.0}), "misfit.*negative"),
        (lambda h, _: h["noise"].update(forces=0.0), "noise.*not positive"),
        (lambda h, _: h["noise"].update(magnetism=1.0), "noise.*magnetism"),
        (lambda h, _: h.update(noise_model={"forces": -1.0}), "noise"),
        (lambda h, _: h.update(amplitude=0.0), "noise.*amplitude is not positive"),
        (lambda h, _: h.update(amplitude=-2.0), "noise.*amplitude is not positive"),
        (lambda h, _: h.update(elements=["Cu"]), "elements"),
        (lambda h, _: h.update(elements=[14, 29]), "elements.*descriptor"),
        (lambda h, _: h.update(elements=[29]), "scales"),
        (lambda h, _: h.update(isolated_atoms={"29": 0.0}), "isolated_atoms.*no energy"),
        (lambda h, _: h["descriptors"].append(h["descriptors"][0]), "descriptors"),
        (lambda h, _: h["descriptors"][0].update(r_cut="far"), "descriptors"),
        (lambda h, _: h["descriptors"][0].update(n_max=4), "descriptors"),
        (lambda h, _: h["descriptors"][0].update(compression={"mode": "mu2", "species_weighting": None}), "shape"),
        (lambda h, _: h["networks"].update(members=4), "networks.*"),
        (lambda h, _: h["networks"].update(bodies=2), "networks.*members do not fit"),
        (lambda h, _: h["networks"].update(members=0), "networks.*members do not fit"),
        (lambda h, _: h["networks"].update(hidden=[5, 6]), r"networks.*network\.29\.0"),
        (lambda h, _: h["networks"].update(hidden=[]), "networks.*hidden layers"),
        (lambda h, _: h["networks"].update(activation="relu"), "networks.*kink"),
        (lambda h, _: h["parameters"].update(activation="relu"), "parameters.*kink"),
        (lambda h, _: h["parameters"].update(hidden=[0]), "parameters.*hidden"),
        (lambda h, _: h["parameters"].update(colour=1), "parameters.*expected"),
        (lambda h, _: h["scales"].update(unit=0.0), "scales"),
        (lambda h, _: h["scales"]["offsets"].pop("29"), "scales"),
        (lambda h, _: h.update(held_out=[99]), "training.*held-out structures"),
        (lambda h, _: h.update(held_out=["a"]), "training"),
        (lambda h, _: h["training"].update(labels=[["spin"]] * 8), "training.*spin"),
        (lambda _, t: t.update({"training.sizes": t["training.sizes"][1:]}), "training"),
        (lambda _, t: t.update({"training.positions": t["training.positions"] * np.nan}), "training"),
        (lambda _, t: t.update({"network.29.0": t["network.29.0"].astype(np.float32)}), r"network\.29\.0 .*float32"),
        pytest.param(
            lambda h, _: h["isolated_atoms"].update({"500": 1.0}),
            "isolated_atoms.*500 is no element",
            marks=pytest.mark.wrong_input(
                "Model files", "networks with an isolated atom of the element 500, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h["descriptors"][0].update(n_max=10**6),
            "descriptors.*n_max must be",
            marks=pytest.mark.wrong_input(
                "Model files", "networks with a million radial functions, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h["networks"].update(hidden=[10**9]),
            "networks.*network",
            marks=pytest.mark.wrong_input(
                "Model files", "networks with layers of a billion units, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h["networks"].update(members=10**9),
            "networks",
            marks=pytest.mark.wrong_input(
                "Model files", "networks with a billion networks, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h.update(held_out=[0.7]),
            "training.*held-out structures",
            marks=pytest.mark.wrong_input(
                "Model files", "networks with a structure 0.7, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h["noise"].update(energy=1e300),
            "noise.*above",
            marks=pytest.mark.wrong_input(
                "Model files", "networks with a noise level of 1e300, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h["scales"]["levels"].update(forces=-1.0),
            "scales.*not positive",
            marks=pytest.mark.wrong_input(
                "Model files", "networks with a negative level of noise, under a right checksum", "refused"
            ),
        ),
    ],
)
def test_forged_part_is_named(tmp_path: Path, contents: Contents, forge: Any, message: str) -> None:
    """A file with a valid checksum whose parts are nonsense or do not fit together."""
    refuse(tmp_path, contents, forge, message)


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda h, _: h.update(groups=[]), "factors.*single member"),
        (lambda h, _: h.update(groups=["forces", "magnetism"]), "factors.*level"),
        (lambda h, _: h["noise"].pop("forces"), "factors.*forces"),
        (lambda _, t: t.update({"factor.0.projected": np.float64(3)}), r"factor\.0\.projected has the shape"),
        (lambda _, t: t.update({"factor.0.triangle": t["factor.0.triangle"].T + 1}), "factors.*damaged"),
        (lambda _, t: t.update({"factor.1.prior": np.zeros(5)}), r"factor\.1\.prior has the shape"),
        (lambda _, t: t.update({"factor.1.n_rows": np.zeros(2)}), "factors"),
    ],
)
def test_forged_rows_are_named(tmp_path: Path, contents: Contents, forge: Any, message: str) -> None:
    if not contents[0]["groups"]:
        refuse(tmp_path, contents, lambda h, _: h.update(groups=["forces"]), "factors.*single member")
        return
    refuse(tmp_path, contents, forge, message)

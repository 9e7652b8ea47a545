"""A fitted estimator survives the model file unchanged (the file itself: tests/test_storage.py)."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from safetensors import safe_open
from safetensors.numpy import save_file

from kernpot import SOAPKernel, SparseGPPotential, load
from kernpot.errors import ModelFileError
from kernpot.files.container import read_model, write_model
from tests.helpers.systems import cluster, crystals, slab, soap

FRAMES = [*crystals(5, symbols="Cu3Au"), slab(), cluster("Cu3Au")]
NEW = [crystals(1, seed=5, symbols="Cu2Au2")[0], cluster("Cu2Au2", 3)]


def settings(**changes: Any) -> dict[str, Any]:
    return {"descriptor": soap(["Cu", "Au"]), "n_inducing": 15, "random_state": 0} | changes


def saved(tmp_path: Path, **changes: Any) -> tuple[SparseGPPotential, Path]:
    gp = SparseGPPotential(**settings(**changes)).fit(FRAMES)
    path = tmp_path / "model.kernpot"
    gp.save(path)
    return gp, path


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and tensors of a whole model."""
    header, tensors = read_model(saved(tmp_path_factory.mktemp("whole"))[1])
    del header["sha256"]
    return header, tensors


def require_identical(a: SparseGPPotential, b: SparseGPPotential, structures: list[Atoms]) -> None:
    """To the last bit."""
    for p, q in zip(a.predict_full(structures, True), b.predict_full(structures, True), strict=True):
        for name in ("energy", "energies", "forces", "stress"):
            x, y = getattr(p, name), getattr(q, name)
            for part in ("mean", "epistemic_std", "std"):
                if x is not None:
                    np.testing.assert_array_equal(getattr(x, part), getattr(y, part))
        assert p.covariance is not None
        assert q.covariance is not None
        np.testing.assert_array_equal(p.covariance.total, q.covariance.total)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kernel": SOAPKernel(3), "optimize": False},
        {
            "descriptor": [soap(["Cu", "Au"], 3.0), soap(["Cu", "Au"], 4.5, l_max=1)],
            "kernel": [SOAPKernel(1), SOAPKernel(4)],
        },
        {"noise": {"forces": 0.05, "config_type": {"": {"energy": 0.01}}}},
        {"inducing": FRAMES[:2], "isolated_atoms": {"Cu": 3.0, 79: 2.0}},
        {"descriptor": None},
    ],
    ids=["default", "cubic", "sum", "noise", "given", "default descriptor"],
)
def test_loaded_is_the_same_to_the_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    gp, path = saved(tmp_path, **changes)
    loaded = load(path)
    assert isinstance(loaded, SparseGPPotential)
    require_identical(gp, loaded, NEW)
    assert loaded.elements_ == gp.elements_
    assert loaded.noise_ == gp.noise_
    assert loaded.misfit_ == gp.misfit_
    assert loaded.log_evidence_ == gp.log_evidence_
    assert loaded.isolated_atoms_ == gp.isolated_atoms_
    assert loaded.n_inducing_ == gp.n_inducing_
    assert loaded.cutoff == gp.cutoff
    assert loaded.summary_ == gp.summary_


def test_learning_goes_on_after_loading(tmp_path: Path) -> None:
    gp, path = saved(tmp_path)
    more = crystals(3, seed=7, symbols="CuAu3")
    loaded = load(path).partial_fit(more)
    require_identical(gp.partial_fit(more), loaded, NEW)
    assert loaded.summary_ == gp.summary_
    second = tmp_path / "second.kernpot"
    loaded.save(second)
    require_identical(gp, load(second), NEW)


def test_refit_of_a_loaded_estimator(tmp_path: Path) -> None:
    """Its parameters describe how it was made."""
    gp, path = saved(tmp_path, noise={"forces": 0.05})
    loaded = load(path)
    assert loaded.get_params()["n_inducing"] == 15
    loaded.fit(FRAMES)
    assert loaded.noise_["forces"] == 0.05
    np.testing.assert_allclose(loaded.predict(NEW), gp.predict(NEW), atol=1e-3)


def test_calculator_of_a_loaded_model(tmp_path: Path) -> None:
    gp, path = saved(tmp_path)
    atoms = NEW[0].copy()
    atoms.calc = load(path).calculator()
    np.testing.assert_array_equal(atoms.get_forces(), gp.mean(NEW[0]).forces)


def test_header_says_what_the_model_is(tmp_path: Path) -> None:
    gp, path = saved(tmp_path)
    header, _ = read_model(path)
    assert header["kind"] == "SparseGPPotential"
    assert header["units"] == {"energy": "eV", "length": "Angstrom", "forces": "eV/Angstrom", "stress": "eV/Angstrom^3"}
    assert header["descriptors"][0]["species"] == ["Cu", "Au"]
    assert header["noise"] == gp.noise_
    assert header["summary"]["data_hash"] == gp.summary_["data_hash"]
    assert len(header["kernels"][0]["amplitude"]) == 2
    assert {"dscribe", "torch", "kernpot"} <= set(header["versions"])


def test_hash_tells_data_apart() -> None:
    def digest(frames: list[Atoms]) -> str:
        return SparseGPPotential(**settings(n_inducing=4)).fit(frames).summary_["data_hash"]

    changed = [a.copy() for a in FRAMES]
    for new, old in zip(changed, FRAMES, strict=True):
        new.calc = old.calc
    assert digest(changed) == digest(FRAMES)
    nudged = crystals(5, symbols="Cu3Au")
    nudged[3].calc.results["energy"] += 1e-9
    assert digest(nudged) != digest(crystals(5, symbols="Cu3Au"))


def test_tampered_truncated_and_foreign_files(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[-100] ^= 1
    (tmp_path / "flipped.kernpot").write_bytes(flipped)
    with pytest.raises(ModelFileError, match="SHA-256"):
        load(tmp_path / "flipped.kernpot")
    (tmp_path / "short.kernpot").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFileError, match=r"damaged|truncated"):
        load(tmp_path / "short.kernpot")
    save_file({"x": np.zeros(3)}, tmp_path / "foreign.kernpot")
    with pytest.raises(ModelFileError, match="not a kernpot model"):
        load(tmp_path / "foreign.kernpot")
    with pytest.raises(ModelFileError, match="no model file"):
        load(tmp_path / "absent.kernpot")


def test_newer_schema(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    with safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["kernpot"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    header["schema_version"] = 99
    save_file(tensors, path, {"kernpot": json.dumps(header)})
    with pytest.raises(ModelFileError, match="upgrade kernpot"):
        load(path)


@pytest.mark.parametrize("part", ["noise", "blocks", "descriptors", "groups", "misfit"])
def test_file_without_a_part(tmp_path: Path, part: str) -> None:
    """A valid file whose contents are not a whole model."""
    _, path = saved(tmp_path)
    header, tensors = read_model(path)
    write_model(path, {k: v for k, v in header.items() if k not in (part, "sha256")}, tensors)
    with pytest.raises(ModelFileError, match=part):
        load(path)


def test_file_without_a_tensor(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    header, tensors = read_model(path)
    del tensors["environments.1"]
    write_model(path, {k: v for k, v in header.items() if k != "sha256"}, tensors)
    with pytest.raises(ModelFileError, match=r"environments\.1"):
        load(path)


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda h, _: h.update(misfit={}), "misfit.*energy, forces, stress"),
        (lambda h, _: h["misfit"].update(energy={"constant": -1.0}), "misfit.*negative"),
        (lambda h, _: h["misfit"].update(forces=3), "misfit"),
        (lambda h, _: h["misfit"]["stress"].update(extra=1.0), "misfit"),
        (lambda h, _: h.update(noise=[]), "noise"),
        (lambda h, _: h["noise"].update(forces=0.0), "noise.*not positive"),
        (lambda h, _: h["noise"].pop("forces"), "noise.*forces"),
        (lambda h, _: h.update(noise_model={"forces": -1.0}), "noise_model"),
        (lambda h, _: h.update(elements=["Cu"]), "elements"),
        (lambda h, _: h.update(elements=[14, 29]), "elements.*descriptors"),
        (lambda h, _: h.update(isolated_atoms={"29": 0.0}), "isolated_atoms.*no energy"),
        (lambda h, _: h.update(isolated_atoms=None), "isolated_atoms"),
        (lambda h, _: h.update(descriptors=[]), "descriptors"),
        (lambda h, _: h["descriptors"][0].update(r_cut="far"), "descriptors"),
        (lambda h, _: h["descriptors"][0].update(average="inner"), "descriptors"),
        (lambda h, _: h.update(kernels=[]), "kernels"),
        (lambda h, _: h["kernels"][0].update(amplitude=[1.0]), r"kernels.*positive amplitudes of shape \(2,\)"),
        (lambda h, _: h["kernels"][0].update(amplitude=[1.0, -1.0]), r"kernels.*positive amplitudes of shape \(2,\)"),
        (lambda h, _: h["kernels"][0].update(zeta=-1), "kernels"),
        (lambda h, _: h["blocks"][0].update(descriptor=7), "blocks"),
        (lambda h, _: h["blocks"][0].update(element=14), "blocks"),
        (lambda h, _: h["blocks"][0].update(zeta=5), "blocks"),
        (lambda h, _: h.update(groups=["forces", "magnetism"]), "groups.*magnetism"),
        (lambda h, _: h.update(groups=3), "groups"),
        (lambda h, _: h.update(summary=4), "summary"),
        (lambda h, _: h.update(log_evidence="good"), "log_evidence"),
        (lambda h, _: h.update(parameters={"colour": 1}), "parameters"),
        (lambda _, t: t.update({"environments.0": t["environments.0"][:, 1:]}), r"blocks.*environments\.0 .*shape"),
        (lambda _, t: t.update({"environments.0": t["environments.0"][1:]}), "blocks.*n_inducing is 15"),
        (lambda _, t: t.update({"environments.1": t["environments.1"] * np.nan}), "not finite"),
        (lambda _, t: t.update({"environments.1": t["environments.1"].astype(np.float32)}), "float32"),
        (lambda _, t: t.update({"factor.0.projected": np.float64(3)}), r"factor\.0\.projected has the shape"),
        (lambda _, t: t.update({"factor.0.triangle": t["factor.0.triangle"].T + 1}), r"'factor\.0' .*damaged"),
        (lambda _, t: t.update({"factor.1.prior": np.zeros(5)}), r"factor\.1\.prior has the shape"),
        (lambda _, t: t.update({"factor.1.n_rows": np.zeros(2)}), r"'factor\.1' "),
        pytest.param(
            lambda h, _: h["kernels"][0].update(zeta=10**9),
            "kernels.*at most 100",
            marks=pytest.mark.wrong_input(
                "Model files", "a power of the kernel of 1e9, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h["kernels"][0].update(elements=[29, 119]),
            "kernels.*atomic numbers",
            marks=pytest.mark.wrong_input(
                "Model files", "a kernel of the element 119, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h["descriptors"][0].update(n_max=10**6),
            "descriptors.*n_max must be",
            marks=pytest.mark.wrong_input(
                "Model files", "a million radial functions, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h["descriptors"][0].update(species=["Cu", 119]),
            "descriptors.*species",
            marks=pytest.mark.wrong_input(
                "Model files", "a descriptor of the element 119, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h["descriptors"][0].update(species=[-3, 29]),
            "descriptors.*species",
            marks=pytest.mark.wrong_input(
                "Model files", "a descriptor of the element -3, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h["descriptors"][0].update(r_cut=1e9),
            "descriptors.*r_cut must be",
            marks=pytest.mark.wrong_input("Model files", "a cutoff of 1e9 A, under a right checksum", "refused"),
        ),
        pytest.param(
            lambda h, _: h["descriptors"][0].update(sigma=1e-300),
            "descriptors.*sigma must be",
            marks=pytest.mark.wrong_input(
                "Model files", "a width of densities of 1e-300 A, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h.update(elements=[29.7, 79]),
            "elements.*ascending",
            marks=pytest.mark.wrong_input("Model files", "an element 29.7, under a right checksum", "refused"),
        ),
        pytest.param(
            lambda h, _: h["isolated_atoms"].update({"500": 1.0}),
            "isolated_atoms.*'500' is no element|isolated_atoms.*500 is no element",
            marks=pytest.mark.wrong_input(
                "Model files", "an isolated atom of the element 500, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h["isolated_atoms"].update({"29": True}),
            "isolated_atoms.*True is not a finite number",
            marks=pytest.mark.wrong_input(
                "Model files", "an energy that is a truth value, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h.update(n_inducing=10**6),
            "blocks.*n_inducing is 1000000",
            marks=pytest.mark.wrong_input(
                "Model files",
                "another number of inducing environments than there are, under a right checksum",
                "refused",
            ),
        ),
        pytest.param(
            lambda h, _: h["units"].update(energy="kcal/mol"),
            "units.*kcal/mol",
            marks=pytest.mark.wrong_input("Model files", "other units, under a right checksum", "refused"),
        ),
        pytest.param(
            lambda h, _: h["noise"].update(energy=1e300),
            "noise.*above",
            marks=pytest.mark.wrong_input("Model files", "a noise level of 1e300, under a right checksum", "refused"),
        ),
        pytest.param(
            lambda h, _: h["misfit"]["energy"].update(factor=1e200),
            "misfit.*above",
            marks=pytest.mark.wrong_input("Model files", "a misfit of 1e200, under a right checksum", "refused"),
        ),
        pytest.param(
            lambda h, _: h["training"]["noise_scale"][0].update(energy=1e300),
            "training.*noise_scale",
            marks=pytest.mark.wrong_input(
                "Model files", "a scale of noise of 1e300, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h["parameters"].update(n_inducing=-5),
            "parameters.*n_inducing must be",
            marks=pytest.mark.wrong_input(
                "Model files", "parameters that no estimator takes, under a right checksum", "refused"
            ),
        ),
        pytest.param(
            lambda h, _: h["parameters"].update(random_state=2**32),
            "parameters.*random_state must be",
            marks=pytest.mark.wrong_input("Model files", "a seed beyond 2^32, under a right checksum", "refused"),
        ),
    ],
)
def test_forged_part_is_named(
    tmp_path: Path,
    contents: tuple[dict[str, Any], dict[str, np.ndarray]],
    forge: Callable[[dict[str, Any], dict[str, np.ndarray]], Any],
    message: str,
) -> None:
    """A file with a valid checksum whose parts are nonsense or do not fit together."""
    header, tensors = copy.deepcopy(contents)
    forge(header, tensors)
    path = tmp_path / "forged.kernpot"
    write_model(path, header, tensors)
    with pytest.raises(ModelFileError, match=message):
        load(path)


def test_nothing_in_the_file_is_code(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    assert b"pickle" not in path.read_bytes().lower()
    assert path.read_bytes()[8:9] == b"{"  # after the length of the header comes its JSON; pickles begin with 0x80

"""Adding inducing environments equals fitting with them from the start."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from sklearn.exceptions import NotFittedError

from kernpot import SOAPKernel, SparseGPPotential, load
from kernpot.errors import InducingWarning, KernpotError, ModelFileError, StructureError
from kernpot.files.container import read_model, write_model
from kernpot.gp.fitted import FittedGP
from kernpot.gp.rows import columns as extend
from kernpot.regression.factor import LabelFactor
from tests.helpers.systems import cluster, crystals, labelled, slab, soap

OWN = {"surface": {"forces": 0.06, "energy": 0.004}}
SETTINGS: dict[str, Any] = {
    "descriptor": [soap(["Cu", "Au"], 3.5), soap(["Cu", "Au"], 4.5, l_max=1)],
    "kernel": [SOAPKernel(2, amplitude=1.0), SOAPKernel(4, amplitude=0.7)],
    "noise": {"energy": 0.002, "forces": 0.03, "stress": 0.001, "config_type": OWN},
    "optimize": False,
    "isolated_atoms": {"Cu": 3.0, "Au": 3.5},
}


def training() -> list[Atoms]:
    """Crystals, surfaces with levels of their own, a cluster, labels missing, and one structure of less weight."""
    surfaces = [slab(k, symbol) for k, symbol in enumerate(("Cu", "Au", "Cu", "Au"))]
    frames = [*crystals(8, symbols="Cu3Au"), *surfaces, cluster("Cu2Au2")]
    for atoms in frames[8:12]:
        atoms.info["config_type"] = "surface"
    frames += [labelled(crystals(1, seed=k)[0], [kind]) for k, kind in ((2, "energy"), (3, "forces"))]
    frames[0].info["noise_scale"] = {"forces": 3.0, "energy": 2.0}
    return frames


DATA = training()
MORE = crystals(3, seed=9, symbols="Cu2Au2")
NEW = [crystals(1, seed=5, symbols="CuAu3")[0], cluster("CuAu3", seed=2), slab(7)]


def masked(atoms: Atoms, *chosen: int) -> Atoms:
    atoms = atoms.copy()
    atoms.arrays["inducing"] = np.isin(np.arange(len(atoms)), chosen)
    return atoms


def first() -> list[Atoms]:
    return [DATA[0], masked(DATA[12], 0, 2)]


def added() -> list[Atoms]:
    return [MORE[0], masked(DATA[9], 1)]


def fitted(inducing: list[Atoms] | None = None, data: list[Atoms] = DATA, **changes: Any) -> SparseGPPotential:
    return SparseGPPotential(inducing=inducing or first(), **(SETTINGS | changes)).fit(data)


@cache
def small() -> SparseGPPotential:
    """Fitted without the environments to be added; not to be changed."""
    return fitted()


@cache
def whole() -> SparseGPPotential:
    """Fitted with all environments from the start; not to be changed."""
    return fitted(first() + added())


def require_same(a: SparseGPPotential, b: SparseGPPotential, tolerance: float = 1e-7) -> None:
    assert b.n_inducing_ == a.n_inducing_
    assert b.log_evidence_ == pytest.approx(a.log_evidence_, rel=1e-8)
    assert b.noise_ == a.noise_
    for p, q in zip(a.predict_full(NEW), b.predict_full(NEW), strict=True):
        for name in ("energy", "energies", "forces", "stress"):
            x, y = getattr(p, name), getattr(q, name)
            if x is None:
                continue
            np.testing.assert_allclose(y.mean, x.mean, rtol=0, atol=tolerance * max(1.0, np.abs(x.mean).max()))
            np.testing.assert_allclose(y.std, x.std, rtol=tolerance)
            np.testing.assert_allclose(y.epistemic_std, x.epistemic_std, rtol=tolerance)


@pytest.fixture
def groups_done_by_products(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Groups of forces that an extension did by products, so that a test knows that it tests them."""
    seen: list[str] = []
    enlarged = extend._enlarged

    def spy(factor: LabelFactor, *others: Any) -> LabelFactor | None:
        found = enlarged(factor, *others)
        seen.append(f"{factor.n_rows} labels" if found is not None else "failed")
        return found

    monkeypatch.setattr(extend, "_enlarged", spy)
    return seen


def test_equals_a_fit_with_all(groups_done_by_products: list[str]) -> None:
    """New columns in the middle of four blocks, two groups of forces; to one of them some columns add nothing."""
    gp = deepcopy(small()).add_inducing(added())
    assert sorted(groups_done_by_products) == ["120 labels", "48 labels"]
    require_same(whole(), gp, 1e-9)
    assert [len(b.environments) for b in gp.fitted_.whitening.blocks] == [6, 5, 6, 5]
    assert gp.summary_["updates"] == [{"inducing": 10}]


def test_components_that_are_not_known_and_weights_of_atoms(groups_done_by_products: list[str], tmp_path: Path) -> None:
    data = [a.copy() for a in DATA]
    for k, (a, b) in enumerate(zip(DATA, data, strict=True)):
        b.calc = deepcopy(a.calc)
        if k % 2 and "forces" in a.calc.results:
            b.calc.results["forces"][k % 3, :2] = np.nan
            b.arrays["forces_weight"] = np.linspace(0.5, 2.0, len(b))
    fitted(data=data).save(tmp_path / "masked.kernpot")
    start = load(tmp_path / "masked.kernpot")
    assert isinstance(start, SparseGPPotential)
    gp = start.add_inducing(added())
    assert len(groups_done_by_products) == 2
    assert "failed" not in groups_done_by_products
    require_same(fitted(first() + added(), data), gp, 1e-9)


def test_one_group_by_products_and_one_by_rows(
    monkeypatch: pytest.MonkeyPatch, groups_done_by_products: list[str]
) -> None:
    chosen = extend._without_rows
    monkeypatch.setattr(extend, "_without_rows", lambda *given: {"forces[surface]": chosen(*given)["forces[surface]"]})
    gp = deepcopy(small()).add_inducing(added())
    assert groups_done_by_products == ["48 labels"]
    require_same(whole(), gp, 1e-9)


def test_environments_without_forces(groups_done_by_products: list[str]) -> None:
    """Isolated atoms among the inducing environments make columns of forces that depend on the others."""
    start = [*first(), Atoms("Cu"), Atoms("Au")]
    gp = fitted(start).add_inducing(added())
    # Whether rounding leaves anything of a column is up to the processor; where not, rows are made again.
    assert len(groups_done_by_products) == 2
    assert set(groups_done_by_products) <= {"120 labels", "48 labels", "failed"}
    require_same(fitted(start + added()), gp)


@pytest.mark.parametrize("name", ["_PRECISION_ERROR", "_INDEPENDENT"])
def test_by_rows_where_products_are_not_accurate_enough(
    monkeypatch: pytest.MonkeyPatch, groups_done_by_products: list[str], name: str
) -> None:
    monkeypatch.setattr(extend, name, {"_PRECISION_ERROR": 0.0, "_INDEPENDENT": 2.0}[name])
    gp = deepcopy(small()).add_inducing(added())
    assert groups_done_by_products == []
    require_same(whole(), gp)


def test_by_rows_where_rounding_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extend, "_enlarged", lambda *_: None)
    require_same(whole(), deepcopy(small()).add_inducing(added()))


def test_tiny_noise_is_left_to_rows(groups_done_by_products: list[str]) -> None:
    noise = {"energy": 1e-6, "forces": 1e-6, "stress": 1e-6}
    gp = fitted(noise=noise).add_inducing(added())
    assert groups_done_by_products == []
    require_same(fitted(first() + added(), noise=noise), gp, 1e-4)


def test_one_by_one_and_in_any_order() -> None:
    gp = deepcopy(small())
    for atoms in reversed(added()):
        gp.add_inducing([atoms])
    require_same(deepcopy(small()).add_inducing(added()), gp)


def test_with_more_data_before_and_after() -> None:
    gp = deepcopy(small()).partial_fit(MORE[:2]).add_inducing(added()).partial_fit(MORE[2:])
    require_same(fitted(first() + added(), DATA + MORE), gp)
    require_same(fitted(first() + added() + NEW[:1], DATA + MORE), gp.add_inducing(NEW[:1]))


def test_after_the_model_file(tmp_path: Path) -> None:
    """What is loaded knows the structures it was fitted and updated with; an extended model is stored as it is."""
    deepcopy(small()).partial_fit(MORE).save(tmp_path / "a.kernpot")
    gp = load(tmp_path / "a.kernpot").add_inducing(added())
    require_same(deepcopy(small()).partial_fit(MORE).add_inducing(added()), gp, 1e-12)
    gp.save(tmp_path / "b.kernpot")
    again = load(tmp_path / "b.kernpot")
    np.testing.assert_array_equal(again.predict(NEW, return_std=True), gp.predict(NEW, return_std=True))


def test_learnt_hyperparameters_stay() -> None:
    gp = SparseGPPotential(descriptor=soap(["Cu", "Au"]), n_inducing=8, random_state=0).fit(DATA)
    noise, misfit, amplitude = dict(gp.noise_), dict(gp.misfit_), gp.kernels_[0].amplitude.clone()
    evidence = gp.log_evidence_
    gp.add_inducing([MORE[0]])
    assert (gp.noise_, gp.misfit_) == (noise, misfit)
    assert bool((gp.kernels_[0].amplitude == amplitude).all())
    assert gp.log_evidence_ > evidence


def test_other_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The enlarged covariance may need more jitter: the old columns turn with it."""
    gp = deepcopy(small())
    monkeypatch.setattr("kernpot.gp.rows.whitening._JITTER", 1e-6)
    require_same(fitted(first() + added()), gp.add_inducing(added()))


def test_processes() -> None:
    gp = deepcopy(small()).set_params(n_jobs=2)
    with joblib.parallel_config(backend="threading"):
        gp.add_inducing(added())
    require_same(deepcopy(small()).add_inducing(added()), gp, 1e-9)


def test_progress() -> None:
    seen: list[tuple[str, int, int]] = []
    deepcopy(small()).set_params(progress=lambda *step: seen.append(step)).add_inducing(added())
    assert seen[-1] == ("new columns", len(DATA), len(DATA))


def test_what_is_there_already_adds_nothing() -> None:
    gp = deepcopy(small())
    posterior = gp.fitted_.posterior
    with pytest.warns(InducingWarning, match="12 of the environments"):
        gp.add_inducing(first())
    assert gp.fitted_.posterior is posterior
    assert gp.summary_["updates"] == []
    with pytest.warns(InducingWarning, match="8 of the environments"):
        gp.add_inducing([MORE[0], MORE[0]])
    assert gp.n_inducing_ == small().n_inducing_ + 8


def test_a_failure_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    gp = deepcopy(small())
    before, m = gp.predict(NEW, return_std=True), gp.n_inducing_

    def fail(_: FittedGP) -> None:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patched:
        patched.setattr(FittedGP, "ready", fail)
        with pytest.raises(RuntimeError, match="no memory"):
            gp.add_inducing(added())
    np.testing.assert_array_equal(gp.predict(NEW, return_std=True), before)
    assert (gp.n_inducing_, gp.summary_["updates"]) == (m, [])
    require_same(whole(), gp.add_inducing(added()))


def test_bad_input() -> None:
    with pytest.raises(NotFittedError):
        SparseGPPotential().add_inducing(added())
    gp = deepcopy(small())
    with pytest.raises(StructureError, match=r"inducing\[1\].*'Si'.*not in the fit"):
        gp.add_inducing([MORE[0], bulk("Si")])
    with pytest.raises(StructureError, match=r"write \[atoms\]"):
        gp.add_inducing(MORE[0])
    with pytest.raises(StructureError, match="at least one"):
        gp.add_inducing([])
    with pytest.raises(StructureError, match=r"inducing\[0\].*no atoms"):
        gp.add_inducing([Atoms()])


def test_file_without_structures(tmp_path: Path) -> None:
    """Files of older versions predict and learn; only this they cannot."""
    path = tmp_path / "old.kernpot"
    small().save(path)
    header, tensors = read_model(path)
    old = {name: value for name, value in header.items() if name not in ("sha256", "training")}
    write_model(path, old, {name: t for name, t in tensors.items() if not name.startswith("training.")})
    gp = load(path)
    np.testing.assert_array_equal(gp.predict(NEW), small().predict(NEW))
    for model in (gp, gp.partial_fit(MORE)):
        with pytest.raises(KernpotError, match=r"older kernpot.*inducing="):
            model.add_inducing(added())
    gp.save(path)
    assert load(path).fitted_.training is None


def test_damaged_structures_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "damaged.kernpot"
    small().save(path)
    header, tensors = read_model(path)
    del header["sha256"]
    del tensors["training.forces"]
    write_model(path, header, tensors)
    with pytest.raises(ModelFileError, match=r"training\.forces"):
        load(path)

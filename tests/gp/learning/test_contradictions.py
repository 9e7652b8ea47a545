"""Labels that contradict one another are refused or told, by both backends; right ones are not."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, GPa, Hartree

from kernpot import NNPEnsemble, SparseGPPotential
from kernpot.errors import KernpotWarning, StructureError
from tests.helpers.systems import crystals, soap

FRAMES = crystals(24)
GP: dict[str, Any] = {"descriptor": soap(), "n_inducing": 40, "inducing": "fps", "random_state": 0}
NNP: dict[str, Any] = {"descriptor": soap(), "n_members": 2, "max_epochs": 40, "random_state": 0}
GRADIENTS = "forces have the other sign: they look like gradients"


def changed(
    which: Collection[int] | None = None, energy: float = 1, offset: float = 0, **factors: float
) -> list[Atoms]:
    """Copies; labels of some (all) structures are multiplied, energies per atom shifted."""
    out = []
    for k, a in enumerate(FRAMES):
        b, results = a.copy(), dict(a.calc.results)
        if which is None or k in which:
            results["energy"] = energy * results["energy"] + offset * len(a)
            results |= {kind: factor * results[kind] for kind, factor in factors.items()}
        b.calc = SinglePointCalculator(b, **results)
        out.append(b)
    return out


WHOLE = [
    pytest.param({"forces": -1}, "the forces of 24 structures .* " + GRADIENTS,
                 marks=pytest.mark.wrong_input("Labels", "gradients for forces", "refused")),
    pytest.param({"stress": -1}, "the stress of 24 .* stress has the other sign",
                 marks=pytest.mark.wrong_input("Labels", "stress with the other sign", "refused")),
    pytest.param({"stress": -10 / GPa}, r"the stress .* looks like kbar, with the other sign \(as in VASP's output\)",
                 marks=pytest.mark.wrong_input("Labels", "stress in kbar with VASP's sign", "refused")),
    pytest.param({"stress": 1 / GPa}, "the stress .* looks like GPa",
                 marks=pytest.mark.wrong_input("Labels", "stress in GPa", "refused")),
    pytest.param({"energy": 1 / Hartree}, "the energies .* energies look like Hartree",
                 marks=pytest.mark.wrong_input("Labels", "energies in Hartree", "refused")),
    pytest.param({"forces": Bohr / Hartree}, "forces look like Hartree/bohr",
                 marks=pytest.mark.wrong_input("Labels", "forces in Hartree/bohr", "refused")),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), WHOLE)
def test_kinds_that_contradict_one_another(changes: dict[str, float], message: str) -> None:
    with pytest.raises(StructureError, match=message):
        SparseGPPotential(**GP).fit(changed(**changes))


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "message"), WHOLE[:3])
def test_networks_refuse_them_too(changes: dict[str, float], message: str) -> None:
    with pytest.raises(StructureError, match=message):
        NNPEnsemble(**NNP).fit(changed(**changes))


@pytest.mark.parametrize("estimator", [SparseGPPotential(**GP), NNPEnsemble(**NNP)])
def test_right_labels_are_silent(estimator: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.fit(FRAMES)


def test_trusted_labels_are_fitted_with_a_warning() -> None:
    with pytest.warns(KernpotWarning, match=GRADIENTS):
        gp = SparseGPPotential(**GP, trust_labels=True).fit(changed(forces=-1))
    assert gp.n_inducing_ == 40


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"forces": -1}, rf"forces of 2 of 24 .*\(structures\[3\], structures\[17\]\) .*{GRADIENTS}",
                     marks=pytest.mark.wrong_input("Labels", "gradients for forces in a few structures", "refused")),
        pytest.param({"forces": Bohr / Hartree}, r"forces of 2 of 24 structures \(structures\[3\].*Hartree/bohr",
                     marks=pytest.mark.wrong_input("Labels", "Hartree/bohr for forces in a few structures", "refused")),
        pytest.param({"stress": -1 / GPa}, r"stress of 2 of 24 structures \(structures\[3\].*GPa, with the other sign",
                     marks=pytest.mark.wrong_input("Labels", "GPa for stress in a few structures", "refused")),
    ],
)  # fmt: skip
def test_structures_that_contradict_the_others(changes: dict[str, float], message: str) -> None:
    with pytest.raises(StructureError, match=message):
        SparseGPPotential(**GP).fit(changed([3, 17], **changes))


@pytest.mark.wrong_input("Labels", "one energy that is off by 1 eV", "warned")
def test_an_energy_that_is_off() -> None:
    with pytest.warns(KernpotWarning, match=r"energies of 1 of 24 structures .*: structures\[11\] by \+0\.2[45]"):
        SparseGPPotential(**GP).fit(changed([11], offset=0.25))


@pytest.mark.wrong_input("Labels", "energies of two codes or functionals in one set", "warned")
@pytest.mark.parametrize("named", ["source", "config_type", None])
def test_energies_of_two_codes(named: str | None) -> None:
    frames = changed(range(8), offset=0.5)
    for k, atoms in enumerate(frames):
        if named == "source":
            atoms.info["source"] = f"{'pbe' if k < 8 else 'scan'}.xyz#{k % 8}"
        elif named:
            atoms.info[named] = "pbe" if k < 8 else "scan"
    which = {"source": r"file pbe\.xyz", "config_type": "config_type pbe", None: r"structures\[0\], .* and 3 more"}[
        named
    ]
    with pytest.warns(KernpotWarning, match=rf"energies of 8 of 24 structures \({which}\) lie \+0\.[45]\d* eV/atom"):
        SparseGPPotential(**GP).fit(frames)


@pytest.mark.slow
def test_any_number_of_processes_finds_the_same() -> None:
    found = []
    for n_jobs in (1, 2):
        with pytest.raises(StructureError) as error:
            SparseGPPotential(**GP, n_jobs=n_jobs).fit(changed([3, 17], forces=-1))
        found.append(str(error.value))
    assert found[0] == found[1]
    assert "structures[3], structures[17]" in found[0]


def test_labels_that_nothing_explains_are_not_called_wrong() -> None:
    """Few structures, forces of noise: no line, no cause."""
    rng = np.random.default_rng(0)
    frames = changed()
    for atoms in frames:
        atoms.calc.results["forces"] = rng.normal(size=(4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        SparseGPPotential(**GP).fit(frames)


@pytest.mark.wrong_input("Labels", "forces in another order than the atoms", "warned")
def test_forces_in_another_order() -> None:
    frames = changed()
    for atoms in frames:
        atoms.calc.results["forces"] = atoms.calc.results["forces"][::-1]
    with pytest.warns(KernpotWarning, match="labels of forces are hardly explained: .* in the order of the atoms"):
        SparseGPPotential(**GP).fit(frames)

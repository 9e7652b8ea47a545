"""Files for metatomic: the numbers of the potential, in metatomic's own ASE calculator and in plain TorchScript."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress as full_3x3
from typer.testing import CliRunner

from kernpot import NNPEnsemble, SOAPKernel, SparseGPPotential
from kernpot.cli.app import app
from kernpot.errors import DescriptorError, KernpotError
from kernpot.kernels.forms import PowerSums, Sum
from kernpot.potential import Potential
from kernpot.surfaces.potentials import Potentials
from tests.engines.alloys import alloy
from tests.helpers.systems import cluster, crystals, slab, soap
from tests.nnp.small import acsf, estimator

mta = pytest.importorskip("metatomic.torch", reason="needs metatomic: pip install 'kernpot[metatomic]'")
metatomic_ase = pytest.importorskip("metatomic_ase", reason="needs metatomic: pip install 'kernpot[metatomic]'")
from kernpot.engines.metatomic import exported, write  # noqa: E402

ALLOY = ["Cu", "Au"]
N_DRAWS = 3
MIXED = {"mode": "mu1nu1", "species_weighting": {"Cu": 1.0, "Au": 0.5}}
ONE_SPECIES = {"mode": "mu2", "species_weighting": {"Cu": 1.0, "Au": 0.5}}
KINDS = {
    "quadratic": lambda: gaussian(soap(ALLOY)),
    "few inducing": lambda: gaussian(soap(ALLOY, n_max=5, l_max=4), n_inducing=20),
    "linear": lambda: gaussian(soap(ALLOY), kernel=SOAPKernel(zeta=1)),
    "fourth power": lambda: gaussian(soap(ALLOY), kernel=SOAPKernel(zeta=4)),
    "third power, compressed": lambda: gaussian(
        soap(ALLOY, m=1, compression=MIXED), kernel=SOAPKernel(zeta=3), n_components=8
    ),
    "two descriptors": lambda: gaussian([soap(ALLOY), soap(ALLOY, cutoff=3.0, compression=ONE_SPECIES)]),
    "ensemble": lambda: networks("ensemble"),
    "softplus": lambda: networks("ensemble", activation="softplus", hidden=(6, 5)),
    "shallow": lambda: networks("shallow", activation="tanh"),
    "last layer": lambda: networks("last_layer", hidden=(6, 5)),
}


def frames() -> list[Atoms]:
    return [*crystals(9, symbols="Cu3Au"), cluster("Cu3Au"), slab()]


def gaussian(descriptor, n_inducing: int = 40, **settings) -> SparseGPPotential:
    return SparseGPPotential(descriptor=descriptor, n_inducing=n_inducing, random_state=0, **settings).fit(frames())


def networks(uncertainty: str, **settings) -> NNPEnsemble:
    return estimator(*ALLOY, uncertainty=uncertainty, **settings).fit(frames())


# Those left to the slow tests are of the forms and networks that the others are of.
REPEATED = ("few inducing", "third power, compressed", "softplus", "linear")


@pytest.fixture(
    scope="module", params=[pytest.param(k, marks=pytest.mark.slow if k in REPEATED else ()) for k in KINDS]
)
def potential(request) -> Potential:
    return KINDS[request.param]()


@pytest.fixture(scope="module")
def plain() -> SparseGPPotential:
    return KINDS["quadratic"]()


@pytest.fixture(scope="module")
def path(potential, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("metatomic") / "alloy.pt"
    write(potential, path, n_draws=N_DRAWS, random_state=5)
    return str(path)


@pytest.fixture(scope="module")
def calculator(path):
    return metatomic_ase.MetatomicCalculator(path, check_consistency=True, uncertainty_threshold=None)


def structures() -> list[Atoms]:
    """Crystals of several sizes, a slab, a wire, a cluster, an atom on top of another, and one alone."""
    wire = Atoms("CuAuCu", [[0, 0, 0], [0.3, 0, 2.5], [2.2, 0.1, 1.2]], cell=[0, 0, 5.1], pbc=[False, False, True])
    double = Atoms("Cu2Au", [[0, 0, 0], [0, 0, 0], [0, 0, 2.4]])
    crystals = [alloy((1, 1, 1), seed=1), alloy((2, 2, 1), seed=2)]
    return [*crystals, slab(seed=3), wire, cluster("Cu2Au2", seed=4), double, Atoms("Au")]


def rounding(potentials: Potentials) -> float:
    """eV: of sums over inducing environments, whose weights are large and of both signs; forms do not have them."""
    largest = 0.0
    for term in potentials.terms:
        form = term.energies.first if isinstance(term.energies, Sum) else term.energies
        if isinstance(form, PowerSums):
            largest = max(largest, float(form.weights.abs().sum(1).max()))
    return max(1e-9, 4 * np.finfo(float).eps * largest)


def asked(kind: str, *names: str) -> dict:
    return {name: mta.ModelOutput(unit="eV", sample_kind=kind) for name in names}


def values(tensor_map) -> np.ndarray:
    return tensor_map.block().values.detach().numpy()


def test_energy_forces_and_stress_are_those_of_the_mean(potential, calculator):
    tolerance = rounding(potential.sample_potentials(1, random_state=0).mean_potential.potentials)
    for atoms in structures():
        atoms.calc, expected = calculator, potential.mean(atoms)
        assert atoms.get_potential_energy() == pytest.approx(expected.energy, abs=tolerance)
        np.testing.assert_allclose(atoms.get_potential_energies(), expected.energies, rtol=0, atol=tolerance)
        np.testing.assert_allclose(atoms.get_forces(), expected.forces, rtol=0, atol=2 * tolerance)
        if atoms.pbc.all():
            np.testing.assert_allclose(atoms.get_stress(), expected.stress, rtol=0, atol=tolerance)


def test_the_ensemble_is_the_draws_and_its_spread_the_uncertainty(potential, calculator):
    names = ("energy_ensemble", "energy_uncertainty")
    draws = potential.sample_potentials(N_DRAWS, random_state=5)
    every = structures()
    found = calculator.run_model(every, asked("system", *names))
    expected = [draws.evaluate(atoms).energies for atoms in every]
    np.testing.assert_allclose(values(found["energy_ensemble"]), expected, rtol=0, atol=rounding(draws.potentials))
    stds = [potential.energy_std(atoms).std for atoms in every]
    np.testing.assert_allclose(values(found["energy_uncertainty"])[:, 0], stds, rtol=1e-6)
    atomic = calculator.run_model(every, asked("atom", *names))
    expected = np.concatenate([draws.evaluate(atoms).atomic_energies.T for atoms in every])
    np.testing.assert_allclose(values(atomic["energy_ensemble"]), expected, rtol=0, atol=rounding(draws.potentials))
    # An atom alone is a system of one.
    assert values(atomic["energy_uncertainty"])[-1, 0] == pytest.approx(potential.energy_std(every[-1]).std, rel=1e-6)


@pytest.mark.slow
def test_atomic_uncertainties_are_the_spread_of_many_draws(potential, calculator):
    atoms = alloy((1, 1, 1), seed=1)
    draws = potential.sample_potentials(400, random_state=2).evaluate(atoms).atomic_energies
    found = values(calculator.run_model(atoms, asked("atom", "energy_uncertainty"))["energy_uncertainty"])[:, 0]
    # Four times the chance scatter of a variance from 400 draws, sqrt(2 / 400).
    np.testing.assert_allclose(found**2 - 1e-6, draws.var(0), rtol=0.3)


def test_derivatives_of_a_draw_come_by_autograd(plain):
    """What engines do with ensembles: a gradient of one member's energy."""
    from metatomic.torch import systems_to_torch
    from vesin.metatomic import neighbor_lists_for_model

    model = exported(plain, N_DRAWS, 5)
    atoms = alloy((1, 1, 1), seed=1)
    system = systems_to_torch(atoms, dtype=torch.float64, positions_requires_grad=True)
    for lists in neighbor_lists_for_model("angstrom", model):
        lists.add_neighbor_list([system])
    options = mta.ModelEvaluationOptions(length_unit="angstrom", outputs=asked("system", "energy_ensemble"))
    energies = model([system], options, check_consistency=True)["energy_ensemble"].block().values
    (gradient,) = torch.autograd.grad(energies[0, 1], system.positions)
    expected = plain.sample_potentials(N_DRAWS, random_state=5)[1].mean(atoms).forces
    np.testing.assert_allclose(-gradient.numpy(), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", ["system", "atom"])
def test_selected_atoms_alone(plain, tmp_path, kind):
    """What engines that share atoms between processes ask for; whatever the order of the selection."""
    from metatensor.torch import Labels

    write(plain, tmp_path / "a.pt", n_draws=N_DRAWS)
    calculator = metatomic_ase.MetatomicCalculator(tmp_path / "a.pt", check_consistency=True)
    every = structures()[:3]
    names = ("energy", "energy_ensemble", "energy_uncertainty")
    all_atoms = calculator.run_model(every, asked("atom", *names))
    chosen = torch.tensor([[2, 1], [0, 3], [0, 0]], dtype=torch.int32)
    found = calculator.run_model(every, asked(kind, *names), selected_atoms=Labels(["system", "atom"], chosen))
    starts = np.cumsum([0, *(len(a) for a in every)])
    rows = [starts[0], starts[0] + 3, starts[2] + 1]
    for name in names[:2]:
        expected = values(all_atoms[name])[rows]
        if kind == "system":
            expected = np.stack([expected[:2].sum(0), expected[2]])
        np.testing.assert_allclose(values(found[name]), expected, atol=1e-9)
    uncertainty = values(found["energy_uncertainty"])[:, 0]
    assert uncertainty[-1] == pytest.approx(values(all_atoms["energy_uncertainty"])[rows[-1], 0], abs=1e-9)
    if kind == "system":
        samples = found["energy"].block().samples.values.numpy()
        assert samples.tolist() == [[0], [2]]


@pytest.mark.slow
def test_a_process_that_has_no_kernpot(plain, tmp_path):
    write(plain, tmp_path / "alloy.pt")
    atoms = alloy((1, 1, 1), seed=1)
    atoms.write(tmp_path / "atoms.traj")
    script = """
import sys
sys.modules["kernpot"] = None
from ase.io import read
from metatomic_ase import MetatomicCalculator
atoms = read("atoms.traj")
atoms.calc = MetatomicCalculator("alloy.pt", uncertainty_threshold=None)
print(repr(float(atoms.get_potential_energy())))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(plain.mean(atoms).energy, abs=1e-9)


def test_uncertain_atoms_are_named_by_metatomic(plain):
    atoms = alloy((1, 1, 1), rattle=0.5, seed=7)
    atoms.calc = metatomic_ase.MetatomicCalculator(exported(plain), uncertainty_threshold=0.01)
    with pytest.warns(UserWarning, match="uncertainties are larger than the threshold of 0.01 eV"):
        atoms.get_potential_energy()


def test_without_draws_there_is_no_ensemble(plain):
    model = exported(plain, n_draws=0)
    assert sorted(model.capabilities().outputs) == ["energy", "energy_uncertainty"]
    atoms = alloy((1, 1, 1))
    atoms.calc = metatomic_ase.MetatomicCalculator(model)
    assert atoms.get_potential_energy() == pytest.approx(plain.mean(atoms).energy, abs=1e-9)


def test_what_cannot_be_exported_is_refused(plain, tmp_path):
    with pytest.raises(DescriptorError, match="only SOAP is written for TorchScript"):
        exported(NNPEnsemble(acsf(), hidden=(4,), n_members=2, max_epochs=2, random_state=0).fit(frames()))
    for n in (-1, 1.5, True):
        with pytest.raises(KernpotError, match="n_draws must be the number"):
            exported(plain, n_draws=n)
    with pytest.raises(KernpotError, match=r"end in .pt, got 'a.kernpot'"):
        write(plain, tmp_path / "a.kernpot")
    with pytest.raises(KernpotError, match=r"'.*missing' does not exist"):
        write(plain, tmp_path / "missing" / "a.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["quadratic", "two descriptors"])
def test_error_bars_of_shared_draws(kind, tmp_path):
    """Standard deviations are those of `energy_std`, and the ensemble's scatter about the mean is theirs."""
    model = KINDS[kind]().set_params(error_bars="draws")
    write(model, tmp_path / "draws.pt")
    calculator = metatomic_ase.MetatomicCalculator(str(tmp_path / "draws.pt"), uncertainty_threshold=None)
    for atoms in structures():
        atoms.calc = calculator
        assert atoms.get_potential_energy() == pytest.approx(model.mean(atoms).energy, abs=1e-9)
        found = calculator.run_model(atoms, asked("system", "energy_ensemble", "energy_uncertainty"))
        std = model.energy_std(atoms).std
        assert values(found["energy_uncertainty"])[0, 0] == pytest.approx(std, rel=1e-4)
        drawn = values(found["energy_ensemble"])[0]
        assert len(drawn) == 16
        scatter = np.sqrt(np.mean((drawn - model.mean(atoms).energy) ** 2) + 1e-6)
        assert scatter == pytest.approx(std, rel=1e-4)
    without = exported(model, n_draws=0)
    assert "energy_ensemble" not in without.capabilities().outputs


@pytest.mark.parametrize("kind", ["quadratic", "two descriptors", "ensemble"])
def test_single_precision(kind):
    """As good as numbers of seven digits are; the file says which it takes."""
    model = KINDS[kind]()
    if kind != "ensemble":
        with pytest.raises(KernpotError, match="standard deviations of the whole posterior are lost to rounding"):
            exported(model, dtype="float32")
        model.set_params(error_bars="draws")
    whole, single = (exported(model, n_draws=N_DRAWS, dtype=dtype) for dtype in ("float64", "float32"))
    assert single.capabilities().dtype == "float32" and whole.capabilities().dtype == "float64"
    calculators = [metatomic_ase.MetatomicCalculator(m, uncertainty_threshold=None) for m in (whole, single)]
    for atoms in structures()[:3]:
        found = []
        for calculator in calculators:
            atoms.calc = calculator
            outputs = calculator.run_model(atoms, asked("system", "energy_ensemble", "energy_uncertainty"))
            std, drawn = values(outputs["energy_uncertainty"])[0], values(outputs["energy_ensemble"])[0]
            found.append((atoms.get_potential_energy(), atoms.get_forces(), std, drawn))
        (energy, forces, std, drawn), (e, f, s, d) = found
        assert drawn.dtype == np.float64 and d.dtype == np.float32
        assert e == pytest.approx(energy, abs=1e-4) and e != energy
        np.testing.assert_allclose(f, forces, rtol=0, atol=1e-4 * np.abs(forces).max())
        np.testing.assert_allclose(s, std, rtol=1e-2)
        np.testing.assert_allclose(d, drawn, rtol=0, atol=1e-3)
    with pytest.raises(KernpotError, match="dtype must be one of 'float64', 'float32', got 'float16'"):
        exported(model, dtype="float16")


def test_unknown_elements_are_refused_by_metatomic(plain):
    atoms = Atoms("CuSi", [[0, 0, 0], [0, 0, 2]])
    atoms.calc = metatomic_ase.MetatomicCalculator(exported(plain), uncertainty_threshold=None)
    with pytest.raises(ValueError, match="does not support the atomic type '14'"):
        atoms.get_potential_energy()


def test_the_command(plain, tmp_path):
    plain.save(tmp_path / "alloy.kernpot")
    arguments = ["export", str(tmp_path / "alloy.kernpot"), "-o", str(tmp_path / "alloy.pt"), "--draws", "2"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "energy_ensemble" in done.output
    atoms = alloy((1, 1, 1))
    atoms.calc = metatomic_ase.MetatomicCalculator(tmp_path / "alloy.pt", uncertainty_threshold=None)
    assert atoms.get_potential_energy() == pytest.approx(plain.mean(atoms).energy, abs=1e-9)


def test_the_driver_of_i_pi_reads_the_file(plain, tmp_path):
    """The second engine with a reader of its own: energies, forces, virial and the ensemble."""
    pes = pytest.importorskip("ipi.pes.metatomic", reason="needs i-PI: pip install 'kernpot[ipi]'")
    from ipi.utils.units import unit_to_user

    write(plain, tmp_path / "alloy.pt", N_DRAWS, random_state=5)
    atoms = alloy((1, 1, 2), seed=3)
    atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
    atoms.write(tmp_path / "start.xyz")
    driver = pes.MetatomicDriver(
        template=str(tmp_path / "start.xyz"), model=str(tmp_path / "alloy.pt"), energy_ensemble=True, device="cpu"
    )
    bohr, hartree = unit_to_user("length", "angstrom", 1.0), unit_to_user("energy", "electronvolt", 1.0)
    energy, forces, virial, extras = driver(atoms.cell.array.T / bohr, atoms.positions / bohr)
    expected = plain.mean(atoms)  # i-PI's units of energy, length and force agree with each other to 1e-7
    assert energy * hartree == pytest.approx(expected.energy, abs=1e-8)
    np.testing.assert_allclose(forces * hartree / bohr, expected.forces, rtol=3e-7, atol=1e-8)
    stress = -virial * hartree / atoms.get_volume()
    np.testing.assert_allclose(stress, full_3x3(expected.stress), rtol=3e-7, atol=1e-9)
    draws = plain.sample_potentials(N_DRAWS, random_state=5).evaluate(atoms).energies
    ensemble = json.loads(extras)["committee_pot"]
    np.testing.assert_allclose(np.ravel(ensemble) * hartree, draws, atol=1e-8)

"""The posterior over the last layer, against Bayesian linear regression written out with rows by finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms

from kernpot import NNPEnsemble
from kernpot.errors import KernpotError
from kernpot.nnp.fitted import Trained
from kernpot.nnp.last_layer import HiddenRows, LastLayer, compress, learn
from kernpot.nnp.members import potentials_of
from kernpot.regression.posterior import Posterior
from kernpot.structures.labels import LabelledStructure, label_structures
from tests.helpers.changed import changed
from tests.helpers.soaps import central_difference, displaced
from tests.helpers.systems import cluster, crystals, labelled, slab, small_molecule, soap
from tests.nnp.small import acsf, estimator, relabelled


class Dense:
    """Linear regression on the hidden features of a trained network, all labels at once."""

    def __init__(self, trained: Trained, structures: Sequence[LabelledStructure]) -> None:
        self._trained = trained
        n = sum(net.head.shape[1] + 1 for net in trained.networks.values())
        stacked, targets = [np.eye(n) / trained.amplitude], [np.zeros(n)]
        for s in structures:
            found = self.labels(s.atoms)
            for kind in s.kinds:
                rows, network = found[kind][:, :-1], found[kind][:, -1]
                noise = trained.levels[trained.noise.group(s, kind)] * s.noise_scale[kind]
                noise = noise * len(s.atoms) if kind == "energy" else noise
                left = np.ravel(getattr(s, kind)) - network
                stacked.append(rows / noise)
                targets.append(left / noise)
        # The pseudo-inverse of weighted rows and prior: the normal equations would square their condition.
        inverse = np.linalg.pinv(np.concatenate(stacked), rcond=1e-15)
        self.covariance, self.weights = inverse @ inverse.T, inverse @ np.concatenate(targets)

    def hidden(self, atoms: Atoms) -> np.ndarray:
        """Sums of hidden features and numbers of atoms, element by element."""
        x = torch.from_numpy(self._trained.features(atoms))
        found = []
        for z, net in self._trained.networks.items():
            h = net.hidden(self._trained.inputs[z](x[torch.from_numpy(atoms.numbers == z)]))[0][0]
            found.append(np.append(h.sum(0).numpy(), float(len(h))))
        return np.concatenate(found)

    def energy(self, atoms: Atoms) -> float:
        trained, x = self._trained, torch.from_numpy(self._trained.features(atoms))
        total = sum(trained.zero[z] for z in atoms.numbers)
        for z, net in trained.networks.items():
            total += float(net(trained.inputs[z](x[torch.from_numpy(atoms.numbers == z)]))[0].sum())
        return total

    def labels(self, atoms: Atoms) -> dict[str, np.ndarray]:
        """Rows of all labels, and in the last column what the network says."""
        return _labels(lambda a: np.append(self.hidden(a), self.energy(a)), atoms)

    def require_equal(self, nnp: NNPEnsemble, atoms: Atoms) -> None:
        (p,), found = nnp.predict_full(atoms, covariance=True), self.labels(atoms)
        rows = {kind: values[:, :-1] for kind, values in found.items()}
        for kind in ("energy", "forces", "stress"):
            quantity = getattr(p, kind)
            if quantity is None:
                continue
            mean = found[kind][:, -1] + rows[kind] @ self.weights
            std = np.sqrt(np.einsum("nm,mk,nk->n", rows[kind], self.covariance, rows[kind]))
            size = float(np.abs(mean).max())
            np.testing.assert_allclose(np.ravel(quantity.mean), mean, rtol=1e-4, atol=1e-5 * size + 1e-8)
            np.testing.assert_allclose(np.ravel(quantity.epistemic_std), std, rtol=1e-4, atol=1e-5 * std.max() + 1e-9)
        together = np.concatenate([rows[kind] for kind in ("energy", "forces", "stress") if getattr(p, kind)])
        expected = together @ self.covariance @ together.T
        assert p.covariance is not None
        scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected))) + 1e-14
        assert float(np.abs((p.covariance.epistemic - expected) / scale.max()).max()) < 1e-4


def _labels(function: Callable[[Atoms], np.ndarray], atoms: Atoms) -> dict[str, np.ndarray]:
    """Rows (n, m) of all labels of a function (m,) of structures."""
    forces = []
    for k in range(3 * len(atoms)):
        move = np.zeros((len(atoms), 3))
        move.flat[k] = 1.0
        forces.append(-central_difference(lambda t, u=move: function(displaced(atoms, t * u))))
    found = {"energy": function(atoms)[None], "forces": np.array(forces)}
    if all(atoms.pbc):
        stress = []
        for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
            strain = np.zeros((3, 3))
            strain[a, b] += 0.5
            strain[b, a] += 0.5
            slope = central_difference(lambda t, e=strain: function(displaced(atoms, strain=t * e)))
            stress.append(slope / atoms.get_volume())
        found["stress"] = np.array(stress)
    return found


def copper() -> list[Atoms]:
    frames = crystals(5, 1)
    frames[0].info["noise_scale"] = {"forces": 2.0, "energy": 0.5}
    return frames


CASES: dict[str, tuple[Callable[[], list[Atoms]], Any, Atoms, dict[str, Any]]] = {
    "crystals": (copper, soap(), crystals(1, 9)[0], {}),
    "alloys": (
        lambda: [*crystals(4, symbols="Cu3Au"), slab(), cluster("Cu3Au")],
        soap(["Cu", "Au"]),
        crystals(1, 9, symbols="Cu3Au")[0],
        {"noise": {"energy": 0.01, "forces": 0.1, "stress": 0.01}},
    ),
    "molecules": (
        lambda: [small_molecule("CO", k) for k in range(3)] + [small_molecule("CO2", k) for k in range(4)],
        soap(["C", "O"], sigma=0.3),
        small_molecule("CO2", 9),
        {},
    ),
    "symmetry functions": (lambda: crystals(4, symbols="Cu3Au"), acsf(), cluster("Cu3Au", 7), {}),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[NNPEnsemble, Atoms]:
    frames, descriptor, other, changes = CASES[request.param]
    return estimator(descriptor=descriptor, uncertainty="last_layer", **changes).fit(frames()), other


pytestmark = pytest.mark.filterwarnings("ignore:no structure has stress labels")


def learnt(nnp: NNPEnsemble) -> list[LabelledStructure]:
    return [s for k, s in enumerate(nnp.fitted_.trained.labelled) if k not in nnp.fitted_.trained.held]


def test_posterior_is_bayesian_linear_regression(case: tuple[NNPEnsemble, Atoms]) -> None:
    nnp, other = case
    dense = Dense(nnp.fitted_.trained, learnt(nnp))
    for atoms in (learnt(nnp)[0].atoms, other):
        dense.require_equal(nnp, atoms)


def test_draws_have_the_mean_and_the_covariance_of_the_posterior(case: tuple[NNPEnsemble, Atoms]) -> None:
    nnp, atoms = case
    n = 4000
    (p,) = nnp.predict_full(atoms, covariance=True)
    for posterior, scale in (("bayes", 1.0), ("calibrated", nnp.draw_scale_)):
        found = nnp.sample_potentials(n, random_state=1, posterior=posterior).evaluate(atoms)
        parts = [found.energies[:, None], found.forces.reshape(n, -1)]
        means = [[p.energy.mean], p.forces.mean.ravel()]
        if found.stress is not None:
            parts.append(found.stress)
            means.append(p.stress.mean)
        samples, mean = np.concatenate(parts, 1), np.concatenate(means)
        expected = scale**2 * p.covariance.epistemic
        std = np.sqrt(np.diag(expected)) + 1e-10
        assert float(np.abs((samples.mean(0) - mean) / std).max()) < 4.5 / np.sqrt(n)
        correlation, truth = np.cov(samples.T) / np.outer(std, std), expected / np.outer(std, std)
        assert float(np.abs(correlation - truth).max()) < 0.12


def test_draws_without_deviations_are_the_mean(case: tuple[NNPEnsemble, Atoms]) -> None:
    nnp, atoms = case
    found = nnp.fitted_.source.draws([torch.Generator().manual_seed(0)], 0.0)(atoms)[0]
    np.testing.assert_allclose(found.forces, nnp.mean(atoms).forces, rtol=1e-9, atol=1e-11)


def test_more_labels_are_learnt_as_if_all_had_been_there(case: tuple[NNPEnsemble, Atoms]) -> None:
    """At fixed hyperparameters: the same as rows of all labels at once."""
    fitted, other = case
    trained = fitted.fitted_.trained
    nnp = changed(fitted, summary={"updates": []})
    more = [labelled(other)]
    nnp.partial_fit(more)
    both = [*learnt(fitted), *label_structures(more)]
    rows = HiddenRows(trained.features, trained.inputs, trained.networks)
    network = potentials_of(trained.features, trained.inputs, trained.networks, trained.zero)
    factors = compress(both, rows, network, trained.noise, None)
    block, amplitude = torch.zeros(rows.n, dtype=torch.int64), torch.tensor([trained.amplitude]).double()
    posterior = Posterior(factors, block, trained.levels, amplitude)
    once = LastLayer(trained.features, trained.inputs, trained.networks, trained.zero, posterior)
    for atoms in (other, both[0].atoms):
        mean, d = once.deviations(atoms)
        (p,) = nnp.predict_full(atoms)
        assert float(p.energy.mean) == pytest.approx(mean.energy, rel=1e-9)
        np.testing.assert_allclose(p.forces.mean, mean.forces, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(p.energy.epistemic_std**2, (d.energies**2).sum(), rtol=1e-8)
        np.testing.assert_allclose(p.forces.epistemic_std**2, (d.forces**2).sum(0), rtol=1e-6, atol=1e-14)
    assert fitted.fitted_.trained is trained and len(trained.labelled) == len(both) - 1 + len(trained.held)
    before, after = fitted.predict_full(other)[0], nnp.predict_full(other)[0]
    assert float(after.energy.epistemic_std) < float(before.energy.epistemic_std)


def test_rows_in_any_portions() -> None:
    """One at a time, or all together."""
    frames = crystals(8, 1)
    a, b = (estimator(uncertainty="last_layer").fit(frames[:5]) for _ in range(2))
    a.partial_fit(frames[5:])
    for atoms in frames[5:]:
        b.partial_fit([atoms])
    for p, q in zip(a.predict_full(frames), b.predict_full(frames), strict=True):
        np.testing.assert_allclose(p.forces.mean, q.forces.mean, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(p.forces.epistemic_std, q.forces.epistemic_std, rtol=1e-7, atol=1e-12)
    assert len(b.summary_["updates"]) == 3


def test_forces_alone_and_new_kinds_of_labels_are_learnt_later() -> None:
    frames = crystals(9, 1)
    bare = [relabelled(a, energy=a.get_potential_energy()) for a in frames]
    with pytest.warns(match="no structure has"):
        nnp = estimator(uncertainty="last_layer").fit(bare[:6])
    before = nnp.predict_full(frames[7])[0]
    nnp.partial_fit([relabelled(a, forces=a.get_forces()) for a in frames[6:]])
    assert set(nnp.fitted_.trained.factors) == {"energy", "forces"} and "forces" in nnp.noise_
    after = nnp.predict_full(frames[7])[0]
    truth = frames[7].get_forces()
    assert np.abs(after.forces.mean - truth).mean() < np.abs(before.forces.mean - truth).mean()
    assert (after.forces.epistemic_std < before.forces.epistemic_std).all()


def test_isolated_atoms_are_not_rows_of_the_last_layer() -> None:
    """Networks do not train on them: neither in a fit nor in an update."""
    frames, alone = crystals(6, 1), labelled(Atoms("Cu"), ("energy",))
    settings: dict[str, Any] = {"uncertainty": "last_layer", "isolated_atoms": {"Cu": alone.get_potential_energy()}}
    nnp = estimator(**settings).fit([*frames, alone])
    rows = {group: f.n_rows for group, f in nnp.fitted_.trained.factors.items()}
    before = nnp.predict(frames, True)
    nnp.partial_fit([alone])
    assert {group: f.n_rows for group, f in nnp.fitted_.trained.factors.items()} == rows
    np.testing.assert_array_equal(nnp.predict(frames, True), before)


@pytest.mark.parametrize("size", [1e-3, 1.0])
def test_noise_that_starts_below_what_the_search_allows(size: float) -> None:
    """Weak forces: 5 % of a millielectronvolt per Angstrom over 100 A^2 is less than the least noise of stress."""
    frames = [
        relabelled(
            a, energy=size * a.get_potential_energy(), forces=size * a.get_forces(), stress=size * a.get_stress()
        )
        for a in crystals(6, 1)
    ]
    nnp = estimator(uncertainty="last_layer").fit(frames)
    assert all(level >= 0.99e-5 for level in nnp.noise_.values())
    assert np.isfinite(nnp.predict_full(frames[0])[0].stress.std).all()


def test_fixed_levels_stay() -> None:
    noise = {"energy": 0.003, "stress": 2e-6}
    nnp = estimator(uncertainty="last_layer", noise=noise).fit(crystals(6, 1))
    assert nnp.noise_["energy"] == 0.003 and nnp.noise_["stress"] == 2e-6


def test_evidence_finds_the_noise_of_labels() -> None:
    """Labels made by a network with the same body, its head moved, and noise of known size."""
    frames = crystals(30, 1)
    nnp = estimator(uncertainty="last_layer", hidden=(4,), validation=0).fit(frames)
    trained, rng = nnp.fitted_.trained, np.random.default_rng(0)
    rows = HiddenRows(trained.features, trained.inputs, trained.networks)
    network = potentials_of(trained.features, trained.inputs, trained.networks, trained.zero)
    weights = 0.5 * rng.normal(size=rows.n)
    made = []
    for a in frames:
        found, mean = rows(a), network(a)[0]
        forces = mean.forces + np.einsum("m,mna->na", weights, found.forces) + 0.03 * rng.normal(size=(4, 3))
        energy = mean.energy + weights @ found.energies + 4 * 0.004 * rng.normal()
        made.append(relabelled(a, energy=energy, forces=forces))
    factors = compress(label_structures(made), rows, network, trained.noise, None)
    levels, amplitude = learn(factors, {"energy": 0.1, "forces": 0.1}, set(), 1.0)
    assert levels["forces"] == pytest.approx(0.03, rel=0.15)
    assert levels["energy"] == pytest.approx(0.004, rel=0.5)
    assert 0.15 < amplitude < 1.5


@pytest.mark.filterwarnings("ignore:no structure has")
def test_labels_that_tell_no_prior() -> None:
    """The training has made of a few energies what it could."""
    with pytest.warns(match=r"nothing of the 8 labels that the last layer explains.*stays at 0\.0\d+ eV") as told:
        nnp = estimator(uncertainty="last_layer", max_epochs=40).fit(crystals(10, 1, kinds=("energy",)))
    assert not any("kernel" in str(w.message) for w in told)
    assert nnp.fitted_.trained.amplitude == pytest.approx(nnp.fitted_.trained.scales.unit, rel=1e-9)
    assert (nnp.predict_full(crystals(2, 5))[0].forces.std > 0).all()


def test_members_are_none() -> None:
    nnp = estimator(uncertainty="last_layer").fit(crystals(4, 1))
    with pytest.raises(KernpotError, match="expected n of at most 0"):
        nnp.sample_potentials(1, posterior="members")

"""Training: what is learnt from which labels, when it stops, what is kept, and that it goes on to the same bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms

from kernpot.errors import NumericalError
from kernpot.nnp.derivatives import Batch
from kernpot.nnp.members import in_ev, potentials_of
from kernpot.nnp.optimiser import Optimiser
from kernpot.nnp.training import SCHEDULES, Trainer
from tests.helpers.systems import cluster, crystals, slab, soap
from tests.nnp.small import Training, relabelled, tensors_of

FRAMES = crystals(12, 1)


def same(a: Trainer, b: Trainer) -> bool:
    pairs = zip(
        [*tensors_of(a), *a.optimiser.state().values()], [*tensors_of(b), *b.optimiser.state().values()], strict=True
    )
    return all(torch.equal(x, y) for x, y in pairs)


def predicted(training: Training, atoms: Atoms) -> Any:
    """Of the members as they are kept, less the isolated atoms."""
    networks = {z: in_ev(n, training.scales.unit) for z, n in training.trainer.networks().items()}
    return potentials_of(training.parts.features, training.parts.inputs, networks, training.scales.offsets)(atoms)


def held_out_losses(trainer: Trainer) -> list[np.ndarray]:
    """Runs to the end; the losses (K,) after every epoch."""
    found, real = [], trainer.held_out_losses

    def watched(parameters: Any) -> np.ndarray:
        found.append(real(parameters))
        return found[-1].copy()

    trainer.held_out_losses = watched  # type: ignore[method-assign]
    while not trainer.done:
        trainer.epoch()
    return found


def rates(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found, real = [], Optimiser.step

    def step(self: Optimiser, rate: float) -> None:
        found.append(rate)
        real(self, rate)

    monkeypatch.setattr(Optimiser, "step", step)
    return found


# ------------------------------------------------------------------ what is learnt


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("shared", [False, True])
def test_loss_goes_down(schedule: str, shared: bool) -> None:
    trainer = Training(FRAMES, held_out=[2, 7], schedule=schedule, shared=shared, max_epochs=60).run()
    history = np.array(trainer.progress.history)
    assert history.shape == (60, 2)
    assert history[-1, 0] < 0.3 * history[0, 0]
    assert history[-1, 1] < 0.5 * history[0, 1]


def test_history_is_the_loss_per_structure() -> None:
    """Before anything is learnt, at a rate of nearly nothing."""
    training = Training(FRAMES, held_out=[2, 7], learning_rate=1e-12, batch_size=5)
    trainer = training.run(1)
    everything = trainer._loss(trainer.optimiser.parameters, Batch(training.data, np.arange(12))).detach()
    train = np.setdiff1d(np.arange(12), [2, 7])
    found = trainer.progress.history[0]
    assert found[0] == pytest.approx(float(everything[:, train].mean()), rel=1e-4)
    assert found[1] == pytest.approx(float(everything[:, [2, 7]].mean()), rel=1e-4)


def test_loss_is_that_of_the_potentials_it_makes() -> None:
    """In double precision, from energies, forces and stress of the finished potentials."""
    frames = [*crystals(3, 1, symbols="Cu3Au"), slab(), cluster("Cu3Au")]
    training = Training(frames, soap(["Cu", "Au"]), noise={"energy": 0.01, "forces": 0.1, "stress": 0.001})
    found = training.trainer._loss(training.trainer.optimiser.parameters, Batch(training.data, np.arange(5)))
    for k, atoms in enumerate(frames):
        p = predicted(training, atoms)
        known = float(training.targets.energies[k]) * training.scales.unit * len(atoms)
        offsets = sum(training.scales.offsets[z] for z in atoms.numbers.tolist())
        expected = ((p.energies - offsets - known) / len(atoms) / 0.01) ** 2
        expected += ((p.forces - atoms.get_forces()) ** 2).sum((1, 2)) / 0.1**2 / 10
        if p.stress is not None:
            expected += ((p.stress - atoms.get_stress()) ** 2).sum(1) / 0.001**2 / 10
        np.testing.assert_allclose(found[:, k].detach(), expected, rtol=2e-3)


def errors(training: Training, frames: list[Atoms]) -> dict[str, float]:
    """Rms errors of the members' averages on labelled frames."""
    found: dict[str, list[np.ndarray]] = {"forces": [], "stress": []}
    for atoms in frames:
        p = predicted(training, atoms)
        found["forces"].append(np.ravel(p.forces.mean(0) - atoms.get_forces()))
        found["stress"].append(np.ravel(p.stress.mean(0) - atoms.get_stress()))
    return {kind: float(np.sqrt(np.mean(np.concatenate(e) ** 2))) for kind, e in found.items()}


def test_labels_that_are_missing_are_not_learnt() -> None:
    """Forces of half of the structures only, stress of none, one without an energy: the rest is learnt all the same."""
    frames = []
    for k, a in enumerate(FRAMES):
        labels: dict[str, Any] = {"energy": a.get_potential_energy()} if k else {}
        frames.append(relabelled(a, **labels, **({"forces": a.get_forces()} if k % 2 == 0 else {})))
    training = Training(frames, max_epochs=80)
    training.run()
    learnt = errors(training, FRAMES[::2])["forces"]
    rms = float(np.sqrt(np.mean([a.get_forces() ** 2 for a in FRAMES])))
    assert learnt < 0.5 * rms
    # What the missing labels are is all the same, but for zero: that is not learnt either.
    spoilt = [relabelled(a, **a.calc.results) for a in frames]
    for a in spoilt[1::2]:
        a.calc.results["forces"] = np.zeros((4, 3))
    other = Training(spoilt, max_epochs=80)
    other.run()
    assert errors(other, FRAMES[::2])["forces"] != pytest.approx(learnt, rel=1e-3)


def test_energies_only() -> None:
    training = Training([relabelled(a, energy=a.get_potential_energy()) for a in FRAMES], max_epochs=100)
    training.run()
    history = training.trainer.progress.history
    assert history[-1][0] < 0.05 * history[0][0]


def contradicting(scale: Any = None, config_type: str = "") -> list[Atoms]:
    """Every structure twice, the second time with all forces the other way round."""
    frames = []
    for a in FRAMES[:3]:
        second = relabelled(a, energy=a.get_potential_energy(), forces=-a.get_forces())
        if scale is not None:
            second.info["noise_scale"] = scale
        if config_type:
            second.info["config_type"] = config_type
        frames += [relabelled(a, energy=a.get_potential_energy(), forces=a.get_forces()), second]
    return frames


def slope_of_forces(frames: list[Atoms], noise: Any = None) -> float:
    """Of predicted against true forces: one where the first labels are believed, none where neither is."""
    training = Training(frames, noise=noise, max_epochs=80, learning_rate=0.05, n_members=2)
    training.run()
    x = np.concatenate([a.get_forces().ravel() for a in FRAMES[:3]])
    y = np.concatenate([predicted(training, a).forces.mean(0).ravel() for a in FRAMES[:3]])
    return float(x @ y / (x @ x))


@pytest.mark.slow
def test_noise_scale_and_levels_of_types_say_whom_to_believe() -> None:
    assert abs(slope_of_forces(contradicting())) < 0.2
    assert slope_of_forces(contradicting(20.0)) > 0.7
    assert slope_of_forces(contradicting({"forces": 20.0})) > 0.7
    assert slope_of_forces(contradicting({"forces": 0.05})) < -0.7
    noise = {"forces": 0.1, "config_type": {"wrong": {"forces": 2.0}}}
    assert slope_of_forces(contradicting(config_type="wrong"), noise) > 0.7


def test_weights_of_members_say_what_each_learns() -> None:
    """The first member sees the first half only, the second the other: labels that one does not see move it no bit."""
    weights = np.zeros((2, 12))
    weights[0, :6], weights[1, 6:] = 1.0, 1.0
    turned = FRAMES[:6] + [
        relabelled(a, energy=a.get_potential_energy(), forces=-a.get_forces(), stress=a.get_stress())
        for a in FRAMES[6:]
    ]
    noise = {"energy": 0.01, "forces": 0.1, "stress": 0.01}
    one, other = (Training(f, n_members=2, weights=weights, noise=noise).run() for f in (FRAMES, turned))
    for x, y in zip(tensors_of(one), tensors_of(other), strict=True):
        assert torch.equal(x[0], y[0]) and not torch.equal(x[1], y[1])


def test_batches_with_one_of_two_elements() -> None:
    frames = [*crystals(4, 1), *crystals(4, 2, symbols="Au4")]
    training = Training(frames, soap(["Cu", "Au"]), max_epochs=40, batch_size=2)
    history = training.run().progress.history
    assert history[-1][0] < history[0][0] and len(history) == 40


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_size_of_batches(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []
    real = Trainer._loss

    def watched(self: Trainer, parameters: Any, batch: Batch) -> torch.Tensor:
        seen.append(batch.structures.tolist())
        return real(self, parameters, batch)

    monkeypatch.setattr(Trainer, "_loss", watched)
    Training(FRAMES, batch_size=batch_size).run(2)
    sizes = [len(s) for s in seen]
    assert max(sizes) == min(batch_size, 12) and sum(sizes) == 24
    half = len(seen) // 2
    epochs = [[k for batch in part for k in batch] for part in (seen[:half], seen[half:])]
    assert [sorted(e) for e in epochs] == [list(range(12))] * 2
    assert epochs[0] != epochs[1] or batch_size == 100


def test_batches_of_large_structures_are_smaller() -> None:
    large = [a.repeat((3, 3, 2)) for a in crystals(8, 1, kinds=("energy",))]
    for k, a in enumerate(large):
        large[k] = relabelled(a, energy=float(k))
    assert Training(large, batch_size=100).trainer.n_batches == 2


# ------------------------------------------------------------------ when it stops and what is kept


def test_each_member_keeps_its_best_epoch() -> None:
    trainer = Training(FRAMES, held_out=[0, 3, 5], max_epochs=40, learning_rate=0.05, seed=1).trainer
    losses = np.array(held_out_losses(trainer))
    at = trainer.progress
    np.testing.assert_array_equal(at.best, losses.min(0))
    np.testing.assert_array_equal(at.best_epoch, losses.argmin(0) + 1)
    assert len(set(at.best_epoch.tolist())) > 1
    np.testing.assert_allclose(Trainer.held_out_losses(trainer, at.kept), at.best, rtol=1e-6)


def test_members_that_share_a_body_stop_together() -> None:
    trainer = Training(FRAMES, held_out=[0, 3, 5], max_epochs=40, learning_rate=0.05, shared=True).trainer
    losses = np.array(held_out_losses(trainer)).mean(1)
    assert set(trainer.progress.best_epoch.tolist()) == {int(losses.argmin()) + 1}
    found = Trainer.held_out_losses(trainer, trainer.progress.kept).mean()
    assert float(found) == pytest.approx(losses.min(), rel=1e-6)


def test_without_anything_held_out_the_last_average_is_kept() -> None:
    trainer = Training(FRAMES).run()
    for kept, average, now in zip(
        trainer.progress.kept, trainer.optimiser.average, trainer.optimiser.parameters, strict=True
    ):
        assert torch.equal(kept, average) and not torch.equal(kept, now)
    assert all(math.isnan(b) for _, b in trainer.progress.history)
    assert trainer.progress.best_epoch.tolist() == [10] * 3


def stuck(trainer: Trainer, best: int) -> None:
    """The held-out part gets worse after some epochs."""
    trainer.held_out_losses = lambda _: np.full(3, 1.0 + abs(trainer.progress.epoch - best))  # type: ignore[method-assign]


@pytest.mark.parametrize("patience", [1, 4])
def test_patience(patience: int) -> None:
    trainer = Training(FRAMES, held_out=[0, 1], max_epochs=50, patience=patience).trainer
    stuck(trainer, 6)
    while not trainer.done:
        trainer.epoch()
    assert trainer.progress.epoch == 6 + patience
    assert trainer.progress.best_epoch.tolist() == [6] * 3


def test_one_member_that_improves_keeps_all_going() -> None:
    trainer = Training(FRAMES, held_out=[0, 1], max_epochs=20, patience=2).trainer
    trainer.held_out_losses = lambda _: np.array([1.0, 1.0, 1.0 / trainer.progress.epoch])  # type: ignore[method-assign]
    while not trainer.done:
        trainer.epoch()
    assert trainer.progress.epoch == 20
    assert trainer.progress.best_epoch.tolist() == [1, 1, 20]


def test_cosine_warms_up_and_ends_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = rates(monkeypatch)
    Training(FRAMES, max_epochs=50, batch_size=3, learning_rate=0.04).run()
    steps = np.arange(200)
    expected = 0.04 * np.minimum(1, (steps + 1) / 100) * 0.5 * (1 + np.cos(np.pi * steps / 200))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found[-1] < 2e-4 * max(found)


def test_plateau_halves_the_rate_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    found = rates(monkeypatch)
    trainer = Training(
        FRAMES, held_out=[0, 1], max_epochs=1000, batch_size=100, learning_rate=0.04, schedule="plateau"
    ).trainer
    stuck(trainer, 110)
    while not trainer.done:
        trainer.epoch()
    np.testing.assert_allclose(found[:100], 0.04 * np.arange(1, 101) / 100)
    np.testing.assert_allclose(found[100:120], 0.04)
    for k in range(1, 7):
        np.testing.assert_allclose(found[110 + 10 * k : 120 + 10 * k], 0.04 / 2**k)
    assert trainer.progress.epoch == 110 + 70


def test_divergence_is_an_error() -> None:
    huge = [relabelled(a, energy=a.get_potential_energy(), forces=1e15 * a.get_forces()) for a in FRAMES]
    trainer = Training(huge, noise={"forces": 1e-8}).trainer
    with pytest.raises(NumericalError, match=r"diverged in epoch 1.*lower learning_rate \(now 0.01\)"):
        trainer.epoch()


# ------------------------------------------------------------------ members, seeds, and going on


def test_a_member_learns_the_same_in_any_company() -> None:
    """To rounding: products of three matrices are not those of two, bit by bit."""
    three = Training(FRAMES, held_out=[1, 2], max_epochs=12)
    some = {z: n.like([t[1:] for t in n.tensors]) for z, n in three.parts.networks.items()}
    two = Training(FRAMES, n_members=2, held_out=[1, 2], max_epochs=12, networks=some)
    first, second = three.run(), two.run()
    moved = 0.0
    for a, b, start in zip(
        tensors_of(first), tensors_of(second), [t for n in some.values() for t in n.tensors], strict=True
    ):
        torch.testing.assert_close(a[1:], b, rtol=1e-3, atol=1e-4)
        moved = max(moved, float((b - start).abs().max()))
    assert moved > 1e-2
    np.testing.assert_allclose(first.progress.best[1:], second.progress.best, rtol=1e-3)


def test_a_member_that_runs_away_leaves_the_others_alone() -> None:
    calm = Training(FRAMES, max_epochs=6)
    wild = {z: n.like([torch.cat([t[:1] * 1e4, t[1:]]) for t in n.tensors]) for z, n in calm.parts.networks.items()}
    loud = Training(FRAMES, max_epochs=6, networks=wild)
    for a, b in zip(tensors_of(calm.run()), tensors_of(loud.run()), strict=True):
        torch.testing.assert_close(a[1:], b[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_same_seed_same_bits_and_another_seed_others(shared: bool) -> None:
    a, b, c = (Training(FRAMES, shared=shared, held_out=[1], seed=seed, max_epochs=4).run() for seed in (0, 0, 1))
    assert same(a, b)
    assert not same(a, c)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("held_out", [(), (2, 7)])
def test_resumed_after_every_epoch_is_the_same_bit_by_bit(schedule: str, held_out: tuple[int, ...]) -> None:
    def made() -> Training:
        return Training(FRAMES, held_out=held_out, schedule=schedule, max_epochs=12, learning_rate=0.05)

    through = made().run()
    trainer = made().trainer
    while not trainer.done:
        trainer.epoch()
        plain, tensors = trainer.state()
        trainer = made().trainer
        trainer.restore(plain, {name: t.clone() for name, t in tensors.items()})
    assert same(through, trainer)
    a, b = through.progress, trainer.progress
    assert (a.epoch, a.rate) == (b.epoch, b.rate)
    np.testing.assert_array_equal(a.best, b.best)
    np.testing.assert_array_equal(a.best_epoch, b.best_epoch)
    np.testing.assert_array_equal(np.array(a.history), np.array(b.history))

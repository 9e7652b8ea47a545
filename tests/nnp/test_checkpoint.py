"""A training on disk: killed at any moment it goes on to the same bits, and no file of another is overwritten."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from ase import Atoms

from kernpot import NNPEnsemble, load
from kernpot.errors import KernpotError, ModelFileError
from kernpot.files.container import read_model, write_model
from kernpot.nnp import fitting
from kernpot.nnp.training import Trainer
from tests.helpers.systems import crystals, soap
from tests.nnp.small import UNCERTAINTIES, estimator

ROOT = Path(__file__).resolve().parents[2]
FRAMES = crystals(8, 1)


class Killed(BaseException):
    """Stands for the end of the process; nothing catches it."""


def tensors(nnp: NNPEnsemble) -> list[torch.Tensor]:
    trained = nnp.fitted_.trained
    found = [t for n in trained.networks.values() for t in n.tensors]
    return found + [t for f in (trained.factors or {}).values() for t in f.as_tensors().values()]


def require_same(a: NNPEnsemble, b: NNPEnsemble) -> None:
    for x, y in zip(tensors(a), tensors(b), strict=True):
        assert torch.equal(x, y)
    assert a.summary_ == b.summary_
    assert a.misfit_ == b.misfit_
    np.testing.assert_array_equal(a.predict(FRAMES, True), b.predict(FRAMES, True))


def dying(monkeypatch: pytest.MonkeyPatch, where: str, after: int) -> None:
    """From the next fit on, so many calls of a method pass and the next does not come back."""
    real, passed = getattr(Trainer, where), [0]

    def method(self: Trainer, *args: Any) -> Any:
        passed[0] += 1
        if passed[0] > after:
            raise Killed
        return real(self, *args)

    monkeypatch.setattr(Trainer, where, method)


@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
def test_stopped_after_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uncertainty: str) -> None:
    settings: dict[str, Any] = {"uncertainty": uncertainty, "max_epochs": 6}
    undisturbed = estimator(**settings).fit(FRAMES)
    path = tmp_path / "training.kernpot"
    for _ in range(5):
        with monkeypatch.context() as patch:
            dying(patch, "epoch", 1)
            with pytest.raises(Killed):
                estimator(checkpoint=path, **settings).fit(FRAMES)
    require_same(estimator(checkpoint=path, **settings).fit(FRAMES), undisturbed)


@pytest.mark.parametrize("changes", [{"resample": "split"}, {"schedule": "plateau", "patience": 3}, {"validation": 0}])
def test_stopped_once_in_other_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: Any) -> None:
    undisturbed = estimator(**changes).fit(FRAMES)
    path = tmp_path / "training.kernpot"
    with monkeypatch.context() as patch:
        dying(patch, "epoch", 4)
        with pytest.raises(Killed):
            estimator(checkpoint=path, **changes).fit(FRAMES)
    require_same(estimator(checkpoint=path, **changes).fit(FRAMES), undisturbed)


def test_stopped_between_an_epoch_and_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed, path = estimator().fit(FRAMES), tmp_path / "training.kernpot"
    with monkeypatch.context() as patch:
        dying(patch, "state", 3)
        with pytest.raises(Killed):
            estimator(checkpoint=path).fit(FRAMES)
    assert read_model(path)[0]["progress"]["epoch"] == 3
    require_same(estimator(checkpoint=path).fit(FRAMES), undisturbed)


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_stopped_while_the_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    undisturbed, path = estimator().fit(FRAMES), tmp_path / "training.kernpot"
    real, count = getattr(os, name), [0]

    def touch(*args: Any) -> Any:
        count[0] += 1
        if count[0] == 4:
            raise Killed
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, name, touch)
        with pytest.raises(Killed):
            estimator(checkpoint=path).fit(FRAMES)
    assert read_model(path)[0]["progress"]["epoch"] == 3
    require_same(estimator(checkpoint=path).fit(FRAMES), undisturbed)


def test_a_finished_training_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "training.kernpot"
    finished = estimator(checkpoint=path).fit(FRAMES)
    content = path.read_bytes()
    dying(monkeypatch, "epoch", 0)
    require_same(estimator(checkpoint=str(path)).fit(FRAMES), finished)
    assert path.read_bytes() == content


def test_a_progress_that_raises_loses_nothing(tmp_path: Path) -> None:
    """Ctrl-C comes at any moment; what is thrown from a callable comes after the file is written."""
    path = tmp_path / "training.kernpot"

    def progress(stage: str, done: int, _: int) -> None:
        if stage == "training" and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimator(checkpoint=path, progress=progress).fit(FRAMES)
    assert read_model(path)[0]["progress"]["epoch"] == 5
    require_same(estimator(checkpoint=path).fit(FRAMES), estimator().fit(FRAMES))


def test_updates_leave_the_checkpoint_alone(tmp_path: Path) -> None:
    path = tmp_path / "training.kernpot"
    nnp = estimator(checkpoint=path).fit(FRAMES)
    content = path.read_bytes()
    nnp.partial_fit(crystals(2, 9))
    assert path.read_bytes() == content


# ------------------------------------------------------------------ files of others


def other_labels() -> list[Atoms]:
    frames = crystals(8, 1)
    frames[3].calc.results["energy"] += 1e-6
    return frames


def of_type() -> list[Atoms]:
    frames = crystals(8, 1)
    frames[3].info["config_type"] = "liquid"
    return frames


def trusted() -> list[Atoms]:
    frames = crystals(8, 1)
    frames[3].info["noise_scale"] = 2.0
    return frames


def along_trajectories() -> list[Atoms]:
    """Every structure a trajectory of its own, but for two: as many draws, other structures held out."""
    frames = crystals(8, 1)
    frames[3].info["trajectory"] = frames[4].info["trajectory"] = "a"
    return frames


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "training.kernpot"
    estimator(checkpoint=path, max_epochs=2).fit(FRAMES)
    return path.read_bytes()


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: Any) -> None:
        raise AssertionError("work was started before the checkpoint was refused")

    monkeypatch.setattr(fitting, "describe", work)
    monkeypatch.setattr(fitting, "_inputs", work)


@pytest.mark.parametrize(
    "changes",
    [
        {"random_state": 1},
        {"max_epochs": 3},
        {"learning_rate": 0.02},
        {"hidden": (7,)},
        {"n_members": 4},
        {"uncertainty": "shallow"},
        {"activation": "tanh"},
        {"n_components": 5},
        {"resample": "bootstrap"},
        {"validation": 0.3},
        {"batch_size": 3},
        {"schedule": "plateau"},
        {"patience": 5},
        {"noise": {"forces": 0.1}},
        {"isolated_atoms": {"Cu": 0.0}},
        {"descriptor": soap(cutoff=4.5)},
    ],
    ids=lambda c: next(iter(c)),
)
def test_file_of_other_settings(tmp_path: Path, checkpoint: bytes, no_work: None, changes: dict[str, Any]) -> None:
    path = tmp_path / "training.kernpot"
    path.write_bytes(checkpoint)
    with pytest.raises(KernpotError, match=r"is of another training.*remove it to start anew, or name another file"):
        estimator(checkpoint=path, **({"max_epochs": 2} | changes)).fit(FRAMES)
    assert path.read_bytes() == checkpoint
    assert os.listdir(tmp_path) == ["training.kernpot"]


@pytest.mark.parametrize("frames", [other_labels, of_type, trusted, along_trajectories, lambda: FRAMES[::-1]])
def test_file_of_other_structures(
    tmp_path: Path, checkpoint: bytes, no_work: None, frames: Callable[[], list[Atoms]]
) -> None:
    path = tmp_path / "training.kernpot"
    path.write_bytes(checkpoint)
    with pytest.raises(KernpotError, match="is of another training"):
        estimator(checkpoint=path, max_epochs=2).fit(frames())
    assert path.read_bytes() == checkpoint


def test_same_data_and_settings_are_recognised(tmp_path: Path, checkpoint: bytes) -> None:
    """Whatever objects they are in, and whoever watches."""
    path = tmp_path / "training.kernpot"
    path.write_bytes(checkpoint)
    told: list[Any] = []
    estimator(checkpoint=path, max_epochs=2, descriptor=soap(), progress=lambda *a: told.append(a)).fit(crystals(8, 1))
    assert [a for a in told if a[0] == "training"] == [("training", 2, 2)]


def test_model_file_in_its_place(tmp_path: Path, no_work: None) -> None:
    path = tmp_path / "cu.kernpot"
    write_model(path, {"kind": "NNPEnsemble"}, {"x": np.zeros(3)})
    content = path.read_bytes()
    with pytest.raises(KernpotError, match="is of another training"):
        estimator(checkpoint=path).fit(FRAMES)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "spoil",
    [
        lambda b: b[: len(b) // 2],
        lambda b: b[:500],
        lambda b: b[:-40] + bytes([b[-40] ^ 1]) + b[-39:],
        lambda b: b[:0],
        lambda b: b"notes" + b[:9],
    ],
)
def test_damaged_file(tmp_path: Path, checkpoint: bytes, no_work: None, spoil: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "training.kernpot"
    path.write_bytes(spoil(checkpoint))
    with pytest.raises(
        ModelFileError, match=r"checkpoint: .*damaged, truncated or no file of kernpot.*remove it to start the"
    ):
        estimator(checkpoint=path, max_epochs=2).fit(FRAMES)
    assert path.read_bytes() == spoil(checkpoint)


def test_a_checkpoint_is_not_a_model(tmp_path: Path, checkpoint: bytes) -> None:
    path = tmp_path / "training.kernpot"
    path.write_bytes(checkpoint)
    with pytest.raises(ModelFileError, match="is the checkpoint of a training, not a model"):
        load(path)


def test_a_refused_file_leaves_the_old_fit(tmp_path: Path, checkpoint: bytes) -> None:
    path = tmp_path / "training.kernpot"
    path.write_bytes(checkpoint)
    nnp = estimator(max_epochs=2).fit(FRAMES)
    before = nnp.predict(FRAMES)
    with pytest.raises(KernpotError, match="another training"):
        nnp.set_params(checkpoint=path).fit(FRAMES[:6])
    np.testing.assert_array_equal(nnp.predict(FRAMES), before)


# ------------------------------------------------------------------ real processes


def start(folder: Path) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.nnp.runs", str(folder)]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)


def changes_of(folder: Path) -> list[tuple[str, int, int]]:
    found = []
    for path in folder.rglob("*"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        found.append((path.name, status.st_size, status.st_mtime_ns))
    return sorted(found)


def kill_at_random(folder: Path, kills: int, seed: int, how: int) -> int:
    """Run, killed so many times as it touches the disk, then to the end; how often it met its end on the way."""
    rng, met = random.Random(seed), 0
    for _ in range(kills):
        process = start(folder)
        left, seen = rng.randint(1, 30), changes_of(folder)
        while process.poll() is None and left > 0:
            now = changes_of(folder)
            left, seen = left - (now != seen), now
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.02))
        if process.poll() is None:
            process.send_signal(how)
        process.communicate()
        met += process.returncode != 0
    process = start(folder)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()
    return met


@pytest.mark.slow
@pytest.mark.parametrize(("how", "seed"), [(signal.SIGKILL, 0), (signal.SIGINT, 2)])
def test_killed_processes_go_on_to_the_same_bits(tmp_path: Path, how: int, seed: int) -> None:
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
    _, errors = start(tmp_path / "undisturbed").communicate(timeout=300)
    assert (tmp_path / "undisturbed" / "model.kernpot").exists(), errors.decode()
    assert kill_at_random(tmp_path / "killed", 5, seed, how) > 2
    for name in ("model.kernpot", "training.kernpot"):
        a, b = (safetensors.numpy.load_file(tmp_path / folder / name) for folder in ("undisturbed", "killed"))
        assert set(a) == set(b)
        for tensor, array in a.items():
            np.testing.assert_array_equal(array, b[tensor], err_msg=tensor)
    a, b = (read_model(tmp_path / folder / "model.kernpot")[0] for folder in ("undisturbed", "killed"))
    assert a["summary"] == b["summary"] and a["misfit"] == b["misfit"]

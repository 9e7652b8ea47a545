"""What a run is told of a potential that has learnt, whichever backend it is of."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pytest
from ase import Atoms

from kernpot.dynamics.run_directory import RunDirectory
from kernpot.dynamics.study import Study
from kernpot.errors import KernpotError
from tests.helpers.fakes import LennardJones, drawn_frames


class Savable(LennardJones):
    """With what a study asks for beyond answers."""

    n_saved = 0

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"epsilon": self.epsilon}

    def save(self, path: Path) -> None:
        self.n_saved += 1
        Path(path).write_text(f"model {self.n_saved}")


class Sized(Savable):
    def fit(self, structures: list[Atoms]) -> Self:
        self.summary_ = {"size": {"networks": len(structures)}}
        return super().fit(structures)


def test_size_is_told_in_the_words_of_the_potential(tmp_path: Path) -> None:
    study = Study(Sized(), RunDirectory(tmp_path), 1.3)
    told = study.fit(drawn_frames(3), 1)
    assert told["kind"] == "fit" and told["size"] == {"networks": 3} and "n_inducing" not in told
    assert study.update(drawn_frames(1), 2)["kind"] == "update"
    assert len(study.potential.learnt) == 4


def test_a_model_is_serialised_once_for_both_of_its_files(tmp_path: Path) -> None:
    study = Study(Savable(), RunDirectory(tmp_path), 1.3)
    study.fit(drawn_frames(3), 1)
    study.update(drawn_frames(1), 2)
    potential = study.potential
    assert isinstance(potential, Savable) and potential.n_saved == 2
    for name in ("models/000002.kernpot", "model.kernpot"):
        assert (tmp_path / name).read_text() == "model 2"
    assert (tmp_path / "models" / "000001.kernpot").read_text() == "model 1"


def test_a_potential_need_not_tell_its_size(tmp_path: Path) -> None:
    told = Study(Savable(), RunDirectory(tmp_path), 1.3).fit(drawn_frames(2), 1)
    assert set(told) == {"event", "kind", "seconds"}


def test_one_structure_is_no_start(tmp_path: Path) -> None:
    with pytest.raises(KernpotError, match="there are 1 labelled structures"):
        Study(Savable(), RunDirectory(tmp_path), 1.3).fit(drawn_frames(1), 1)

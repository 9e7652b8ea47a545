"""The beginning of a run: its state from disk, or a new one; its first labels and its first model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from ase import Atoms

from kernpot.dynamics.bootstrap import Bootstrap
from kernpot.dynamics.electronic_state import forget_all_else
from kernpot.dynamics.explorer import Explorer
from kernpot.dynamics.journal import Journal
from kernpot.dynamics.label_store import Entry, LabelStore
from kernpot.dynamics.labelling import Labelling
from kernpot.dynamics.learning import Learning
from kernpot.dynamics.oracles import Labels, Oracle
from kernpot.dynamics.run_directory import RunDirectory, RunDirectoryError, read_json, write_atomically
from kernpot.dynamics.settings import LearnSettings
from kernpot.dynamics.state import RunState
from kernpot.dynamics.study import FEWEST
from kernpot.dynamics.walker import Visit, Walker
from kernpot.errors import KernpotError, StructureError
from kernpot.files.container import library_versions
from kernpot.structures.labels import LabelledStructure


def state_on_disk(directory: RunDirectory, n_walkers: int, labels: LabelStore) -> RunState | None:
    """The last state of the run, or None when it has not begun.

    Raises
    ------
    KernpotError
        When it is of another number of walkers.
    RunDirectoryError
        When labels are missing that the run has learnt.
    """
    if not directory.state_file.exists():
        return None
    state = RunState.from_dict(read_json(directory.state_file), str(directory.state_file))
    if len(state.walkers) != n_walkers:
        raise KernpotError(
            f"n_walkers: the run in {directory.path} has {len(state.walkers)}, got {n_walkers}; resume with as many, "
            "or start a new run in another directory."
        )
    missing = [n for n in (*state.training, *state.audit) if n not in labels]
    if missing:
        raise RunDirectoryError(
            f"{directory.path / 'labels'} lacks the labels {missing[:5]} that the run has learnt; restore them."
        )
    return state


def new_state(settings: LearnSettings, initial: Sequence[Atoms], explorer: Explorer) -> RunState:
    """Walkers at the first structures, each with random numbers of its own."""
    seeds = np.random.SeedSequence(settings.random_state).spawn(settings.n_walkers + 1)
    walkers = []
    for k, seed in enumerate(seeds[1:]):
        atoms = initial[k % len(initial)].copy()
        forget_all_else(atoms)
        walkers.append(Walker(k, atoms, np.random.Generator(np.random.PCG64(seed))))
        if "momenta" not in atoms.arrays:
            explorer.restart(walkers[-1])
    return RunState(walkers, np.random.Generator(np.random.PCG64(seeds[0])))


def keep_provenance(
    directory: RunDirectory, settings: LearnSettings, initial: Sequence[Atoms], oracle: Oracle, resumed: bool
) -> None:
    """Write ``run.json``, or refuse to go on with another system or seed in the run's directory.

    Raises
    ------
    KernpotError
        Saying what was another.
    """
    now: dict[str, Any] = {
        "versions": library_versions(),
        "oracle": oracle.describe(),
        "initial": [str(atoms.symbols) for atoms in initial],
        "random_state": settings.random_state,
    }
    if not resumed:
        write_atomically(directory.path / "run.json", json.dumps(now, indent=1))
        return
    before = read_json(directory.path / "run.json")
    for name in ("initial", "random_state"):
        if before.get(name) != now[name]:
            raise KernpotError(
                f"{name}: the run in {directory.path} has {before.get(name)}, got {now[name]}; resume with "
                "the same, or start a new run in another directory."
            )


def tell_beginning(journal: Journal, state: RunState, n_steps: int, resumed: bool) -> None:
    """The first record of this process."""
    journal.tell(
        {
            "event": "resume" if resumed else "start",
            "version": library_versions()["kernpot"],
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "n_steps": n_steps,
            "n_walkers": len(state.walkers),
            "labels": len(state.training),
        }
    )


def first_model(
    settings: LearnSettings,
    initial: Sequence[Atoms],
    data: Sequence[LabelledStructure],
    state: RunState,
    labelling: Labelling,
    learning: Learning,
) -> None:
    """Learn what is given, label the first frames, and fit.

    Raises
    ------
    StructureError
        When data have no energy, or not the forces on all atoms.
    KernpotError
        When too few labels came of it.
    """
    labels = learning.labels
    for given in data:
        if given.energy is None or given.forces is None or not given.is_whole("forces"):
            raise StructureError(
                f"{given.source}: expected the energy and the forces on all atoms among the data to begin with."
            )
        entry = labels.find(given.atoms)
        if entry is None:
            answer = Labels(given.energy, given.forces, given.stress if given.is_whole("stress") else None)
            entry = Entry(labels.free(state.asked + 1), given.atoms, answer, 0.0)
            labels.add(entry)
        state.asked += 1
        learning.note(entry)
    frames = (settings.bootstrap or Bootstrap()).frames(initial, state.rng)[: state.room(settings.max_labels)]
    for answered in labelling.ask([Visit(atoms, -1, 0, 0.0) for atoms in frames], "bootstrap"):
        if answered.failed:
            labelling.set_aside(answered)
        else:
            learning.note(answered.entry)
    if len(state.training) < FEWEST:
        # Nothing has been built on these failures: the next run asks again, of an oracle that may have been mended.
        labels.forget_failures()
    learning.fit()

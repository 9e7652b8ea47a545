"""Labels for frames of a file, each on disk as soon as it is known, so that no answer is asked for twice."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack

from ase import Atoms

from kernpot.dynamics.frames import without_prediction
from kernpot.dynamics.label_store import Entry, LabelStore, key_of
from kernpot.dynamics.oracles import Labels, Oracle, OracleFailure
from kernpot.dynamics.run_directory import RunDirectory, RunDirectoryError, read_json, write_atomically
from kernpot.progress import Report

ORACLE = "oracle.json"


def label_frames(
    frames: Sequence[Atoms], oracle: Oracle, directory: RunDirectory, report: Report | None = None
) -> list[Labels | OracleFailure]:
    """Answers for frames, in their order; those that are in the directory are not asked for, failures are again.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        What a potential has predicted of them is not looked at.
    oracle : Oracle
    directory : RunDirectory
        Answers are kept there, one file each, as they come: a process that is killed loses those that were being
        computed, one for each worker.
    report : callable, optional
        Called with ``("Labels", done, total)``.

    Raises
    ------
    RunDirectoryError
        The answers in the directory belong to other frames or come from another oracle, or another process is there.
    OraclePending
        Somebody else computes labels that are not there yet.
    """
    with directory.locked():
        _require_same_oracle(directory, oracle)
        store = LabelStore(directory.path / "labels")
        store.forget_failures()
        for number in store:
            if number >= len(frames) or key_of(store[number].atoms) != key_of(frames[number]):
                raise RunDirectoryError(
                    f"{directory.path} holds labels of other frames; finish with the files it was begun with, choose "
                    "another output, or remove that folder."
                )
        asked = [k for k in range(len(frames)) if k not in store]
        if report is not None:
            report("Labels", len(frames) - len(asked), len(frames))
        start = time.perf_counter()
        answers = oracle.answers([without_prediction(frames[k]) for k in asked])
        with ExitStack() as stack:
            if hasattr(answers, "close"):
                stack.callback(answers.close)  # a generator stops its work
            for place, answer in answers:
                now = time.perf_counter()
                store.add(Entry(asked[place], frames[asked[place]], answer, now - start))
                start = now
                if report is not None:
                    report("Labels", len(store), len(frames))
        return [store[k].answer for k in range(len(frames))]


def _require_same_oracle(directory: RunDirectory, oracle: Oracle) -> None:
    path, own = directory.path / ORACLE, json.loads(json.dumps(oracle.describe()))
    if not path.exists():
        write_atomically(path, json.dumps(own, indent=1))
        return
    told = read_json(path)
    if told != own:
        different = sorted(name for name in {*told, *own} if told.get(name) != own.get(name))
        raise RunDirectoryError(
            f"{directory.path} holds labels of another oracle ({', '.join(different)}: "
            f"{[told.get(name) for name in different]}, now {[own.get(name) for name in different]}); labels of two "
            "must not be mixed: go on with the first, choose another output, or remove that folder."
        )

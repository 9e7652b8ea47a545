"""Fit every potential to the same structures, ask each the same questions, and keep the answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ase import Atoms
from sklearn.base import clone

from kernpot.comparison.cost import cost_of_answers, timed
from kernpot.comparison.curve import nested_subsets
from kernpot.comparison.derived import derived_values
from kernpot.comparison.scoring import Record, force_errors, left_out_scores, scores_of
from kernpot.comparison.splits import Split
from kernpot.comparison.store import ResultStore, inputs_key, settings_key, structures_key
from kernpot.errors import KernpotError
from kernpot.progress import Report
from kernpot.structures.reference import is_alone
from kernpot.uncertainty.evaluation import evaluate

CURVE, SHIFT, ALL = "curve", "shift", "all"


@dataclass(frozen=True, eq=False)
class Job:
    """One fit and what is asked of it.

    Attributes
    ----------
    name : str
        The same for all potentials.
    role : str
        `CURVE`, `SHIFT` or `ALL`: learns a subset, without what is shifted, or everything.
    train, test : list of ase.Atoms
    shifted : dict of str to list of ase.Atoms
        Structures unlike those learnt, by the name of the shift: errors and stds of their forces are kept.
    """

    name: str
    role: str
    train: list[Atoms]
    test: list[Atoms]
    shifted: Mapping[str, list[Atoms]]

    @property
    def n_train(self) -> int:
        """Structures learnt, isolated atoms not counted."""
        return sum(not is_alone(atoms) for atoms in self.train)


def jobs(split: Split, learning_curve: bool = True, seed: int = 0) -> list[Job]:
    """All fits of one potential: small ones first, so that compilation is behind it when the large one is timed."""
    subsets = nested_subsets(split.train, seed)[:-1] if learning_curve else []
    found = [
        Job(f"{sum(not is_alone(a) for a in train)} structures", CURVE, train, split.test, {}) for train in subsets
    ]
    found += [
        Job(f"without {s.name}", SHIFT, s.train, s.familiar, {s.name: s.shifted}) for s in split.shifts if s.train
    ]
    asked = {s.name: s.shifted for s in split.shifts if not s.train}
    return [*found, Job(ALL, ALL, split.train, split.test, asked)]


def answer(potential: Any, job: Job, seed: int = 0, report: Report | None = None) -> Record:
    """Fit a clone of the potential, and ask.

    Returns
    -------
    dict
        ``role``, ``n_train``, ``fit``, and the scores (`kernpot.comparison.scoring.scores_of`) on test structures;
        ``shifted``: scores and ``forces`` by the name of the shift. But for subsets ``forces`` on test structures and
        ``left_out``; for all structures ``cost`` and ``derived``, which may have ``failed`` with the reason.
    """
    fitted, cost = timed(lambda: clone(potential).fit(job.train))
    on_test = evaluate(fitted, job.test, report)
    found: Record = {"role": job.role, "n_train": job.n_train, "fit": cost, **scores_of(on_test)}
    if job.role != CURVE:
        found["forces"] = force_errors(on_test)
        found["left_out"] = left_out_scores(fitted)
    found["shifted"] = {}
    for name, structures in job.shifted.items():
        result = evaluate(fitted, structures, report)
        found["shifted"][name] = {**scores_of(result), "forces": force_errors(result)}
    if job.role == ALL:
        found["cost"] = cost_of_answers(fitted, job.test)
        try:
            found["derived"] = derived_values(fitted, job.test, seed)
        except KernpotError as error:
            found["derived"] = {"failed": str(error)}
    return found


def run(
    potentials: Mapping[str, Any],
    split: Split,
    folder: Path | None = None,
    learning_curve: bool = True,
    seed: int = 0,
    progress: Report | None = None,
) -> dict[str, dict[str, Record]]:
    """Results of every potential by its name and that of the job.

    Parameters
    ----------
    potentials : mapping of str to Potential
        Unfitted; each fit starts from a clone.
    split : Split
    folder : Path, optional
        Where the result of each finished fit is kept: a run that was interrupted, or is repeated with the same
        structures and settings, does not fit again.
    learning_curve : bool, default=True
        Whether parts of the training structures are learnt as well.
    seed : int, default=0
        Of subsets, pairs and draws.
    progress : callable, optional
        ``progress("fits", done, total)``, and the stages of fits and predictions.

    Raises
    ------
    KernpotError
        If fewer than two potentials are given, or the fit to all training structures fails; failures of other fits are
        results.
    """
    if len(potentials) < 2:
        raise KernpotError(f"a comparison needs two potentials or more, got {len(potentials)}")
    store = ResultStore(folder)
    work = jobs(split, learning_curve, seed)
    questions = {job.name: _key_of(job, seed) for job in work}  # reads every label: bad ones are refused before any fit
    settings = {name: settings_key(potential) for name, potential in potentials.items()}
    todo = [(name, job) for job in work for name in potentials]
    found: dict[str, dict[str, Record]] = {name: {} for name in potentials}
    for done, (name, job) in enumerate(todo):
        if progress is not None:
            progress("fits", done, len(todo))
        make = partial(_attempt, potentials[name], job, seed, progress)
        key = inputs_key(settings[name], questions[job.name])
        found[name][job.name] = store.get_or_make(f"{name}, {job.name}", key, make)
    if progress is not None:
        progress("fits", len(todo), len(todo))
    return found


def _key_of(job: Job, seed: int) -> str:
    asked = [part for name in sorted(job.shifted) for part in (name, structures_key(job.shifted[name]))]
    return inputs_key(structures_key(job.train), structures_key(job.test), job.role, str(seed), *asked)


def _attempt(potential: Any, job: Job, seed: int, report: Report | None) -> Record:
    if job.role == ALL:
        return answer(potential, job, seed, report)
    try:
        return answer(potential, job, seed, report)
    except KernpotError as error:
        return {
            "role": job.role,
            "n_train": job.n_train,
            "shifted": dict.fromkeys(job.shifted),
            "failed": str(error),
        }

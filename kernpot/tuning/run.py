"""The search from Python: structures in, a fitted potential and the table of what was tried out."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
from ase import Atoms
from dscribe.descriptors import SOAP

from kernpot.backend.randomness import generator_of
from kernpot.backend.summary import data_hash
from kernpot.descriptors import default_descriptor
from kernpot.errors import DescriptorError, KernpotError, ParameterError
from kernpot.files.container import library_versions
from kernpot.gp.estimator import SparseGPPotential
from kernpot.parameters import is_real, is_whole
from kernpot.progress import Report, reporting
from kernpot.structures.labels import LabelledStructure, label_structures, require_any_energy
from kernpot.structures.proportion import in_proportion
from kernpot.structures.reference import is_isolated_atom
from kernpot.tuning.candidates import Settings, changes
from kernpot.tuning.fits import Fits
from kernpot.tuning.record import Journal
from kernpot.tuning.search import Plan, Trials, explore, grow
from kernpot.tuning.table import table
from kernpot.tuning.trial import Request, Trial

SAMPLE = 200
"""Structures that descriptors are tried on, isolated atoms not counted."""
FIRST_INDUCING = 400
"""Inducing environments of these fits."""
STAGE = "Tuning, s"
"""What the search calls itself where it reports how far it is."""

_MOST_MINUTES = 1e6
# Parameters that change no number, or are chosen.
_NOT_KEPT = ("descriptor", "n_inducing", "random_state", "n_jobs", "progress", "trust_labels")
_SCORE = "sum over kinds of labels of the log of the mean absolute error on structures left out"


@dataclass(frozen=True, eq=False)
class TuneResult:
    """What a search found, in the words of scikit-learn's searches; the lowest score is the best.

    Attributes
    ----------
    best_estimator_ : SparseGPPotential
        Fitted to all structures; its ``summary_["tuning"]`` holds all trials.
    best_params_ : dict
        ``descriptor`` and ``n_inducing``, as ``set_params`` takes them.
    best_score_ : float
        Sum over kinds of labels of the log of the mean absolute error on structures left out, in closed form.
    cv_results_ : dict of str to list
        An entry for each trial, in order: ``params`` (plain data), ``n_structures``, ``mae_energy`` (eV/atom),
        ``mae_forces`` (eV/A), ``mae_stress`` (eV/A^3; None where there is none), ``score``, ``fit_time`` (s) and
        ``refused``, why there is no fit. Scores compare between trials on as many structures.
    """

    best_estimator_: SparseGPPotential
    best_params_: dict[str, Any]
    best_score_: float
    cv_results_: dict[str, list[Any]]

    def table(self) -> list[dict[str, str]]:
        """Trials as rows of cells by the name of their column, the best one marked."""
        return table(self.best_estimator_.summary_["tuning"])


def tune(
    structures: Sequence[Atoms],
    minutes: float,
    estimator: SparseGPPotential | None = None,
    journal: str | os.PathLike[str] | None = None,
    random_state: int = 0,
    progress: bool | Report | None = None,
    observe: Callable[[Trial], None] | None = None,
) -> TuneResult:
    """Choose descriptor and number of inducing environments by errors on structures left out, within a given time.

    On a sample of the structures one setting of the descriptor is changed at a time, from the best so far; then the
    best few are fitted to all structures, with twice as many inducing environments as long as the errors fall by more
    than two per cent. Errors come in closed form with every fit (:mod:`kernpot.gp.learning.leave_one_out`), as does the
    weight of energies against forces, which each fit chooses by them itself. No trial is begun that is expected to end
    after the time; the first on the sample and the first on all structures are made whatever they take.

    Parameters
    ----------
    structures : list of ase.Atoms
        The training part, and nothing but it. Labels are read from calculators.
    minutes : float
        For all trials together, those in the journal included.
    estimator : SparseGPPotential, optional
        Its parameters are kept but for ``descriptor``, ``n_inducing`` and ``random_state``. The search starts from its
        descriptor, None or a DScribe SOAP.
    journal : path-like, optional
        A file (JSON lines) to which finished trials go: a search that was stopped, however it was, goes on from there
        and chooses as one that was not, and one with more time goes on from one with less.
    random_state : int, default=0
        Seed of the sample and of every fit.
    progress : bool or callable, optional
        True shows a bar; a callable gets ``(stage, done, total)`` in seconds after every trial.
    observe : callable, optional
        Called with every trial that was made, not with those from the journal.

    Returns
    -------
    TuneResult

    Raises
    ------
    KernpotError
        When a parameter is out of range, a structure or label cannot be used, there are too few structures to leave
        some out, or the journal belongs to another search.

    Examples
    --------
    >>> from kernpot import read_structures, tune
    >>> found = tune(read_structures("train.xyz"), minutes=0.01)
    >>> gp = found.best_estimator_
    >>> sorted(found.best_params_)
    ['descriptor', 'n_inducing']
    """
    if not (is_real(minutes, 0, _MOST_MINUTES) and minutes > 0):
        raise ParameterError(f"minutes must be a number above 0, got {minutes!r}.")
    with reporting(progress) as report:
        return tuned(structures, 60 * float(minutes), estimator, journal, random_state, report, observe)


def tuned(
    structures: Sequence[Atoms],
    seconds: float,
    estimator: SparseGPPotential | None,
    journal: str | os.PathLike[str] | None,
    random_state: int,
    report: Report | None,
    observe: Callable[[Trial], None] | None,
    n_sample: int = SAMPLE,
    n_inducing: int = FIRST_INDUCING,
    clock: Callable[[], float] = time.perf_counter,
) -> TuneResult:
    """As :func:`tune`, with the sizes of the sample and of its fits, and a clock."""
    estimator = SparseGPPotential() if estimator is None else estimator
    _require_tunable(estimator)
    if not is_whole(random_state, 0, 2**32 - 1):
        raise ParameterError(f"random_state must be a whole number, as fits are compared, got {random_state!r}.")
    structures = list(structures)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # every fit says it again
        labelled = label_structures(structures)
    require_any_energy(labelled)
    given = estimator.descriptor
    species = {int(z) for s in labelled for z in s.atoms.numbers}
    base = given if isinstance(given, SOAP) else default_descriptor(species)
    first = Settings.of(base)
    sample = _sample(labelled, n_sample, random_state)
    of_sample, of_all = (sum(len(atoms) for atoms in part) for part in ([structures[k] for k in sample], structures))
    plan = Plan(seconds, min(n_inducing, of_sample), of_all, len(sample), len(structures))
    kept = Journal(None if journal is None else Path(journal), _about(labelled, estimator, first, random_state))
    fits = Fits(
        {len(sample): [structures[k] for k in sample], len(structures): structures},
        estimator,
        base,
        int(random_state),
        kept,
        observe,
        clock,
    )

    def ask(request: Request) -> Trial:
        trial = fits(request)
        if report is not None:
            used = sum(made.seconds for made in trials.made.values()) + trial.seconds
            total = max(round(seconds), 1)
            report(STAGE, min(round(used), total), total)
        return trial

    trials = Trials(ask, fits.work)
    explore(trials, first, changes(first, len(base.species)), plan)
    grow(trials, plan)
    # With more time than before the search may have gone another way; what was found on the first one counts.
    trials.add(kept.trials)
    best = trials.best(len(structures))
    if best is None:
        raise KernpotError(f"no fit to all structures was possible: {[*trials.made.values()][-1].refused}")
    made = list(trials.made.values())
    told = {
        "minutes": seconds / 60,
        "score": _SCORE,
        "best": made.index(best),
        "trials": [trial.to_dict() | {"score": None if trial.refused else trial.score} for trial in made],
    }
    potential = fits.fitted(best.request).note("tuning", told)
    chosen = {"descriptor": best.request.settings.applied(base), "n_inducing": best.request.n_inducing}
    return TuneResult(potential, chosen, best.score, _results(made))


def _require_tunable(estimator: Any) -> None:
    """Refuse what is not chosen by errors on structures left out."""
    if not isinstance(estimator, SparseGPPotential):
        raise KernpotError(f"estimator: expected a SparseGPPotential, got {type(estimator).__name__}.")
    if not (estimator.descriptor is None or isinstance(estimator.descriptor, SOAP)):
        raise DescriptorError(
            f"descriptor: expected None or one dscribe.descriptors.SOAP, whose settings are changed, got "
            f"{estimator.descriptor!r}; compare others by their errors on structures left out."
        )
    if not isinstance(estimator.inducing, str):
        raise KernpotError(
            "inducing: expected the name of a method, as the number of environments is chosen, got a list of them."
        )
    if not estimator.optimize:
        raise KernpotError("optimize: expected True, as fits are compared by errors on structures left out, got False.")


def _sample(labelled: Sequence[LabelledStructure], n: int, random_state: int) -> list[int]:
    """At most so many structures, in proportion to their types, and all isolated atoms, in their order."""
    chosen = in_proportion(labelled, generator_of(random_state))[:n]
    return sorted([*chosen, *(k for k, s in enumerate(labelled) if is_isolated_atom(s))])


def _about(
    labelled: Sequence[LabelledStructure], estimator: SparseGPPotential, first: Settings, random_state: int
) -> dict[str, str]:
    """All that trials depend on."""
    weights = joblib.hash([(s.config_type, sorted(s.noise_scale.items())) for s in labelled])
    parameters = {k: v for k, v in estimator.get_params(deep=False).items() if k not in _NOT_KEPT}
    kernels = parameters.pop("kernel")
    # Told in words: hashes of their tensors differ between processes.
    listed = kernels if isinstance(kernels, Sequence) else [] if kernels is None else [kernels]
    told = [(type(kernel).__qualname__, repr(kernel.get_params())) for kernel in listed]
    return {
        "data": f"{data_hash(labelled)} {weights}",
        "parameters": str(joblib.hash((parameters, told))),
        "descriptor": repr(first),
        "random_state": str(random_state),
        "version of kernpot": library_versions()["kernpot"],
    }


def _results(made: Sequence[Trial]) -> dict[str, list[Any]]:
    kinds = dict.fromkeys(kind for trial in made for kind in trial.mae)
    return {
        "params": [{"descriptor": asdict(t.request.settings), "n_inducing": t.request.n_inducing} for t in made],
        "n_structures": [t.request.n_structures for t in made],
        **{f"mae_{kind}": [t.mae.get(kind) for t in made] for kind in kinds},
        "score": [t.score for t in made],
        "fit_time": [t.seconds for t in made],
        "refused": [t.refused for t in made],
    }

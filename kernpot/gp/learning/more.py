"""What comes after a fit: more labels, more inducing environments. Each makes a new fitted model."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ase import Atoms

from kernpot.backend.requirements import require_described
from kernpot.backend.summary import data_hash, describe_data
from kernpot.calibration.misfit import Misfit
from kernpot.errors import KernpotError, KernpotWarning
from kernpot.files.training import require_training
from kernpot.gp.fitted import FittedGP, SharedDraws
from kernpot.gp.inducing.blocks import enlarge
from kernpot.gp.inducing.unrepresented import worth_describing
from kernpot.gp.learning.ingredients import require_rows
from kernpot.gp.learning.start import starting_noise
from kernpot.gp.learning.unlearnt import with_signal
from kernpot.gp.memory import require_memory_for_forces
from kernpot.gp.rows.columns import extend
from kernpot.gp.rows.compress import compress
from kernpot.progress import Report
from kernpot.structures.checks import require_fitted
from kernpot.structures.kinds import KINDS
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import kind_of
from kernpot.structures.reference import with_atoms_isolated


def with_labels(
    fitted: FittedGP, labelled: Sequence[LabelledStructure], n_jobs: int | None, report: Report | None
) -> FittedGP:
    """With the labels of more structures; inducing environments, noise and amplitudes stay.

    Raises
    ------
    StructureError, DescriptorError
        A structure holds elements that were not in the fit, or cannot be described.
    KernpotError
        Labels are of a kind that has no rows.
    """
    for s in labelled:
        require_fitted(s.atoms, fitted.elements, s.source)
    require_described(labelled, fitted.features)
    require_rows(labelled)
    for s in labelled:
        require_memory_for_forces(s, fitted.features)
    labelled = with_atoms_isolated(labelled, max(features.cutoff for features in fitted.features))
    rows = compress(labelled, fitted.maker, n_jobs=n_jobs, progress=report)
    start = starting_noise(labelled, fitted.noise_model, fitted.isolated)
    factors, noise, misfit = dict(fitted.factors), dict(fitted.noise), dict(fitted.misfit)
    for group, factor in rows.factors.items():
        if group in factors:
            factors[group] = factors[group].merged(factor)
            continue
        factors[group], noise[group] = factor, start[group]
        if kind_of(group) not in fitted.kinds:
            # What was found for it without any labels (:mod:`kernpot.gp.learning.unlearnt`) few labels do not mend.
            unseen = fitted.misfit.get(kind_of(group), Misfit(0.0))
            wide = unseen.constant > max(KINDS[kind_of(group)].unseen, start[group])
            misfit[kind_of(group)] = unseen if wide else Misfit(start[group])
    # Of labels larger than any before as much is unknown where nothing is represented.
    if any(m.signal > 0 for m in misfit.values()):
        misfit = with_signal(misfit, factors, fitted.amplitudes)
    return replace(
        fitted,
        factors=factors,
        noise=noise,
        misfit=misfit,
        training=None if fitted.training is None else (*fitted.training, *labelled),
        summary=updated(fitted, {"data": describe_data(labelled), "data_hash": data_hash(labelled)}),
        found_posterior=None,
        shared=_learnt(fitted.shared, labelled, n_jobs),
        unseen_pairs=None if fitted.unseen_pairs is None else fitted.unseen_pairs.merged(rows.pairs),
    ).ready()


def _learnt(
    shared: SharedDraws | None, labelled: Sequence[LabelledStructure], n_jobs: int | None
) -> SharedDraws | None:
    """Draws that have learnt the same labels."""
    return None if shared is None else replace(shared, source=with_labels(shared.source, labelled, n_jobs, None))


def with_inducing(fitted: FittedGP, inducing: Sequence[Atoms], n_jobs: int | None, report: Report | None) -> FittedGP:
    """With more inducing environments; itself where there is none among these that it does not have.

    Raises
    ------
    StructureError
        When a structure cannot be used or holds elements that were not in the fit.
    KernpotError
        When the training structures are not known.
    """
    blocks = enlarge(fitted.whitening.blocks, inducing, fitted.features, fitted.elements)
    added = blocks[-1].columns.stop - fitted.n_inducing
    if not added:
        return fitted
    training = require_training(
        fitted.training, "adding inducing environments", "Fit again with inducing=[...], or add them before saving."
    )
    scale = {group: fitted.amplitudes / fitted.noise[group] for group in fitted.factors}
    factors, maker = extend(fitted.factors, fitted.maker, blocks, training, scale, n_jobs, report)
    return replace(
        fitted,
        whitening=maker.whitening,
        factors=factors,
        pull=None if fitted.pull is None else maker.whitening.enlarged(fitted.pull, fitted.whitening),
        summary=updated(fitted, {"inducing": added}),
        found_posterior=None,
        shared=_described(fitted.shared, inducing, training, n_jobs),
    ).ready()


def _described(
    shared: SharedDraws | None, inducing: Sequence[Atoms], training: Sequence[LabelledStructure], n_jobs: int | None
) -> SharedDraws | None:
    """Draws that know the same environments: others would stay as uncertain of them as they were."""
    if shared is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KernpotWarning)  # of environments that are inducing already: the model's own
        source = with_inducing(replace(shared.source, training=tuple(training)), inducing, n_jobs, None)
    return replace(shared, source=replace(source, training=None))


def with_new_environments(
    fitted: FittedGP,
    labelled: Sequence[LabelledStructure],
    n_inducing: int,
    n_jobs: int | None,
    report: Report | None,
) -> FittedGP:
    """With the environments of structures whose labels it has learnt that it cannot represent, while there is room.

    Parameters
    ----------
    n_inducing : int
        So many inducing environments there may be in all. Those of displaced copies do not count: they stand in for
        environments that nobody had seen, and must not keep out those that come.
    """
    room = n_inducing - (fitted.n_inducing - fitted.summary.get("n_displaced", 0))
    if room <= 0:
        return fitted
    atoms = [s.atoms for s in labelled]
    whitening, amplitudes = fitted.whitening, fitted.amplitudes
    new = worth_describing(atoms, fitted.features, whitening, amplitudes, fitted.energy_noise, room)
    return with_inducing(fitted, new, n_jobs, report) if new else fitted


def with_note(fitted: FittedGP, name: str, told: Any) -> FittedGP:
    """With one more entry of the summary.

    Raises
    ------
    KernpotError
        There is such an entry, or it is no plain data.
    """
    if name in fitted.summary:
        raise KernpotError(f"name: expected one that is not in the summary yet, got {name!r}; choose another.")
    try:
        plain = json.loads(json.dumps(told, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise KernpotError(f"told: expected plain data as JSON has it, got {type(told).__name__}: {error}.") from None
    return replace(fitted, summary=fitted.summary | {name: plain}).ready()


def updated(fitted: FittedGP, update: dict[str, Any]) -> dict[str, Any]:
    """The summary with one more update."""
    return fitted.summary | {"updates": [*fitted.summary["updates"], update]}

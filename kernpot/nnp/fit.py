"""A fit of networks, from labelled structures to what it knows of them; and one with more labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernpot.backend.requirements import learnable, require_described
from kernpot.backend.summary import data_hash, describe_data
from kernpot.calibration.unseen import warn_unseen
from kernpot.nnp.contradictions import contradictions
from kernpot.nnp.fitted import FittedNNP
from kernpot.nnp.fitting import train, train_more
from kernpot.nnp.memory import require_memory_for
from kernpot.nnp.settings import check_settings, descriptor_for
from kernpot.parallel.threads import one_thread
from kernpot.progress import Report
from kernpot.structures.checks import require_fitted
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import NoiseModel
from kernpot.structures.plausibility import act_on, findings
from kernpot.structures.reference import by_least_squares, with_atoms_isolated
from kernpot.structures.repeats import without_repeats

# Errors on structures held out over the spread of labels that a kind of label that contradicts others leaves.
_SUSPICIOUS = 0.4


def fit_nnp(
    labelled: Sequence[LabelledStructure],
    parameters: Mapping[str, Any],
    rng: np.random.RandomState,
    report: Report | None,
) -> FittedNNP:
    """Train an ensemble of networks.

    Parameters
    ----------
    labelled : sequence of LabelledStructure
    parameters : mapping
        Those of :class:`kernpot.NNPEnsemble`.
    rng : RandomState
    report : callable, optional
        Called with (stage, done, total).
    """
    # Everything is checked before any work.
    check_settings(parameters)
    noise = NoiseModel.from_user(parameters["noise"])
    noise.require_known(labelled)
    features = descriptor_for(parameters["descriptor"], sorted({int(z) for s in labelled for z in s.atoms.numbers}))
    require_described(labelled, [features])
    labelled = without_repeats(labelled)
    require_memory_for(labelled, features, parameters)
    labelled = with_atoms_isolated(labelled, features.cutoff)
    warn_unseen(labelled, learnable([features]))
    act_on(findings(labelled), parameters["trust_labels"])
    with one_thread() as n_threads:
        trained, told = train(list(labelled), features, noise, parameters, rng, report, n_threads)
    networks = next(iter(trained.networks.values()))
    summary = {
        "data": describe_data(labelled),
        "data_hash": data_hash(labelled),
        "fitted_isolated_atoms": by_least_squares(labelled, parameters["isolated_atoms"]),
        "held_out": len(trained.held),
        "size": {
            "networks": networks.n_members,
            "weights of each": sum(t[0].numel() for n in trained.networks.values() for t in n.tensors),
        },
        "training": told,
        "updates": [],
    }
    fitted = FittedNNP.calibrated(trained, summary)
    if any(share > _SUSPICIOUS for share in fitted.summary["held_out_missed"].values()):
        act_on(contradictions(fitted.trained), parameters["trust_labels"])
    return fitted


def with_labels(
    fitted: FittedNNP, labelled: Sequence[LabelledStructure], parameters: Mapping[str, Any], report: Report | None
) -> FittedNNP:
    """An ensemble that has learnt more labels.

    Parameters
    ----------
    fitted : FittedNNP
    labelled : sequence of LabelledStructure
    parameters : mapping
        Those of :class:`kernpot.NNPEnsemble`.
    report : callable, optional
        Called with (stage, done, total).
    """
    for s in labelled:
        require_fitted(s.atoms, fitted.elements, s.source)
    require_described(labelled, [fitted.trained.features])
    check_settings(parameters)
    labelled = with_atoms_isolated(labelled, fitted.trained.features.cutoff)
    with one_thread() as n_threads:
        trained, _ = train_more(fitted.trained, labelled, parameters, report, n_threads)
    update = {"data": describe_data(labelled), "data_hash": data_hash(labelled)}
    return FittedNNP.calibrated(trained, fitted.updated(update))

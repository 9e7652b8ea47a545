"""A fit, from labelled structures to what it knows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernpot.backend.requirements import learnable
from kernpot.backend.summary import data_hash, describe_data
from kernpot.calibration.unseen import warn_unseen
from kernpot.functionals.descriptions import Descriptions
from kernpot.gp.amplitudes import Amplitudes
from kernpot.gp.fitted import FittedGP
from kernpot.gp.learning.contradictions import contradictions
from kernpot.gp.learning.hyperparameters import learn_hyperparameters
from kernpot.gp.learning.ingredients import ingredients
from kernpot.gp.learning.leave_one_out import choose_kept
from kernpot.gp.learning.start import starting_noise
from kernpot.gp.rows.compress import compress
from kernpot.gp.rows.maker import RowMaker
from kernpot.gp.rows.whitening import Whitening
from kernpot.progress import Report
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.plausibility import act_on, findings
from kernpot.structures.reference import by_least_squares, isolated_atom_energies, with_atoms_isolated


def fit_gp(
    labelled: Sequence[LabelledStructure],
    parameters: Mapping[str, Any],
    rng: np.random.RandomState,
    report: Report | None,
) -> FittedGP:
    """Fit a sparse Gaussian process.

    Parameters
    ----------
    labelled : sequence of LabelledStructure
    parameters : mapping
        Those of :class:`kernpot.SparseGPPotential`.
    rng : RandomState
    report : callable, optional
        Called with (stage, done, total).
    """
    # Everything that can be is checked before any work.
    made = ingredients(labelled, parameters)
    labelled = with_atoms_isolated(labelled, max(features.cutoff for features in made.features))
    made.noise.require_known(labelled)
    warn_unseen(labelled, learnable(made.features))
    act_on(findings(labelled), parameters["trust_labels"])
    isolated = isolated_atom_energies(labelled, parameters["isolated_atoms"])
    noise = starting_noise(labelled, made.noise, isolated)
    # Drawn first, so that the structures left out are the same whatever the inducing environments.
    keep = choose_kept(labelled, rng, parameters["n_inducing"]) if parameters["optimize"] else set()
    # Which environments span the model ...
    structures = Descriptions(made.features, [s.atoms for s in labelled])
    blocks, n_displaced = made.inducing_blocks(structures, parameters, rng)
    whitening = Whitening(blocks)
    # ... what the labels say of them, one triangle for each level of noise ...
    maker = RowMaker(made.features, whitening, made.noise, isolated)
    rows = compress(labelled, maker, keep, parameters["n_jobs"], report, structures, sketches=True)
    # ... and the hyperparameters under which that is most likely, and errors on structures left out least.
    learnt = learn_hyperparameters(
        rows.factors,
        whitening.block,
        rows.kept,
        Amplitudes(blocks, made.kernels),
        noise,
        made.noise.fixed,
        parameters["optimize"],
    )
    summary = {
        "data": describe_data(labelled),
        "data_hash": data_hash(labelled),
        "fitted_isolated_atoms": by_least_squares(labelled, parameters["isolated_atoms"]),
        "n_components": [b.environments.shape[1] for b in blocks],
        "n_displaced": n_displaced,
        "updates": [],
        "hyperparameters": learnt.told,
    }
    fitted = FittedGP(
        made.features,
        tuple(learnt.kernels),
        whitening,
        made.noise,
        isolated,
        made.elements,
        rows.factors,
        learnt.noise,
        learnt.misfit,
        tuple(labelled),
        summary,
        learnt.pull,
        learnt.posterior,
    ).ready()
    # What only the fit can know of its labels.
    act_on(contradictions(fitted, rows.sketches), parameters["trust_labels"])
    return fitted

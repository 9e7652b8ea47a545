"""A fit, from labelled structures to what it knows of them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from kernpot.backend.requirements import learnable
from kernpot.backend.summary import data_hash, describe_data
from kernpot.calibration.residuals import MIN_STRUCTURES
from kernpot.calibration.unseen import warn_unseen
from kernpot.errors import KernpotWarning
from kernpot.functionals.descriptions import Descriptions
from kernpot.gp.amplitudes import Amplitudes
from kernpot.gp.fitted import FittedGP
from kernpot.gp.learning.contradictions import contradictions
from kernpot.gp.learning.hyperparameters import calibrate, learn_hyperparameters
from kernpot.gp.learning.ingredients import Ingredients, ingredients
from kernpot.gp.learning.leave_one_out import choose_kept
from kernpot.gp.learning.nested import Compressed
from kernpot.gp.learning.shared_draws import N_INDUCING, features_for, residuals_of, shared_draws
from kernpot.gp.learning.size import Growth, first_number, step_of
from kernpot.gp.learning.start import starting_noise
from kernpot.gp.learning.unlearnt import with_unseen_stress
from kernpot.gp.learning.way import score_of, ways_for
from kernpot.gp.learning.whole_space import can_be_widened, groups_left_out, whole_space
from kernpot.gp.rows.compress import Compressor, compress
from kernpot.gp.rows.maker import RowMaker
from kernpot.gp.rows.whitening import Whitening
from kernpot.gp.settings import AUTO, kernels_for
from kernpot.progress import Report
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.plausibility import act_on, findings
from kernpot.structures.reference import by_least_squares, isolated_atom_energies, with_atoms_isolated
from kernpot.structures.repeats import without_repeats


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
    made.noise.require_known(labelled)
    labelled = without_repeats(labelled)
    labelled = with_atoms_isolated(labelled, max(features.cutoff for features in made.features))
    warn_unseen(labelled, {"forces"}.intersection(learnable(made.features)))
    act_on(findings(labelled), parameters["trust_labels"])
    isolated = isolated_atom_energies(labelled, parameters["isolated_atoms"])
    noise = starting_noise(labelled, made.noise, isolated)
    first = first_number(parameters["n_inducing"])
    # Drawn first, so that the structures left out are the same whatever the inducing environments.
    drawing = copy.deepcopy(rng)
    if parameters["optimize"]:
        choose_kept(labelled, rng, first)
    work = _Work(labelled, made, parameters, isolated, noise, drawing, report)
    grows = parameters["n_inducing"] == AUTO and isinstance(parameters["inducing"], str)
    widens = grows and parameters["optimize"] and can_be_widened(made.kernels, labelled)
    growth = Growth(labelled, made.features, widens) if grows else None
    way, *others = ways_for(parameters, labelled, made.features)
    # Each draws as if it had been asked for by name.
    its_rng = copy.deepcopy(rng)
    fitted, rows = work.fitted(first, way, rng)
    for other in others:
        rival, its_rows = work.fitted(first, other, its_rng)
        if score_of(rival.summary) < score_of(fitted.summary):
            fitted, rows, way, rng = rival, its_rows, other, its_rng
        del rival, its_rows
    n_inducing: int | None = first
    while growth and n_inducing is not None:
        n_inducing = growth.next(step_of(fitted.summary, fitted.n_inducing), n_inducing)
        if n_inducing is not None:
            # What is there would take half of the memory.
            del fitted, rows
            fitted, rows = work.fitted(n_inducing, way, rng)
    if widens:
        fitted, rows = work.widened(fitted, rows, rng)
    if growth:
        fitted.summary["growth"] = growth.told | {"inducing": way}
    if parameters["optimize"] and parameters["n_draws"]:
        fitted = work.with_shared_draws(fitted, rows)
    fitted = with_unseen_stress(fitted)
    # What only the fit can know of its labels.
    act_on(contradictions(_as_the_evidence_has_it(fitted), rows.sketches), parameters["trust_labels"])
    return fitted


def _as_the_evidence_has_it(fitted: FittedGP) -> FittedGP:
    """With the noise of the evidence: with less, the mean follows labels that are wrong, and they look right."""
    told = fitted.summary["hyperparameters"]
    if told.get("noise_scale", 1.0) == 1.0:
        return fitted
    return replace(fitted, noise=told["noise_of_evidence"], found_posterior=None)


class _Work(NamedTuple):
    """What fits of one set of labels share, whatever their inducing environments."""

    labelled: Sequence[LabelledStructure]
    made: Ingredients
    parameters: Mapping[str, Any]
    isolated: dict[int, float]
    noise: dict[str, float]
    drawing: np.random.RandomState
    report: Report | None

    def fitted(self, n_inducing: int, way: str, rng: np.random.RandomState) -> tuple[FittedGP, Compressor]:
        """A fit with so many inducing environments, chosen that way, and the rows it was made of."""
        labelled, made, parameters = self.labelled, self.made, self.parameters
        # Which environments span the model ...
        structures = Descriptions(made.features, [s.atoms for s in labelled])
        blocks, n_displaced = made.inducing_blocks(structures, parameters, n_inducing, way, rng)
        whitening = Whitening(blocks)
        # ... what the labels say of them, one triangle for each level of noise ...
        maker = RowMaker(made.features, whitening, made.noise, self.isolated)
        keep = set(choose_kept(labelled, copy.deepcopy(self.drawing), n_inducing)) if parameters["optimize"] else set()
        rows = compress(labelled, maker, keep, parameters["n_jobs"], self.report, structures, sketches=True)
        # ... and the hyperparameters under which that is most likely, and errors on structures left out least.
        learnt = learn_hyperparameters(
            rows.factors,
            whitening.block,
            rows.kept,
            Amplitudes(blocks, made.kernels),
            self.noise,
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
            self.isolated,
            made.elements,
            rows.factors,
            learnt.noise,
            learnt.misfit,
            tuple(labelled),
            summary,
            learnt.pull,
            learnt.posterior,
            unseen_pairs=rows.pairs if all(f.describes_anything for f in made.features) else None,
        ).ready()
        return fitted, rows

    def widened(self, fitted: FittedGP, rows: Compressor, rng: np.random.RandomState) -> tuple[FittedGP, Compressor]:
        """With a mean from the whole space of quadratic forms, where structures left out say that it is better."""
        labelled = self.labelled
        kept = choose_kept(labelled, copy.deepcopy(self.drawing), fitted.n_inducing)
        groups = groups_left_out(kept, len(labelled))
        if sum(map(len, groups)) < MIN_STRUCTURES:
            return fitted, rows
        by_place = {one.place: one for one in rows.kept}
        of_groups = [[by_place[place] for place in group] for group in groups]
        found = whole_space(fitted, labelled, of_groups, self.made.noise.fixed, rng, self.report)
        if found is None:
            return fitted, rows
        whitening = Whitening(found.blocks)
        maker = RowMaker(self.made.features, whitening, self.made.noise, self.isolated)
        keep = {place for group in groups for place in group}
        rows = compress(labelled, maker, keep, self.parameters["n_jobs"], self.report, sketches=True)
        noise = {g: s if g in self.made.noise.fixed else found.scale * s for g, s in fitted.noise.items()}
        whole = Compressed(rows.factors, whitening.block, rows.kept)
        calibrated = calibrate(whole, noise, fitted.amplitudes, found.left_out)
        told = fitted.summary["hyperparameters"] | calibrated.told | {"whole_space": found.told}
        widened = replace(
            fitted,
            whitening=whitening,
            factors=rows.factors,
            noise=noise,
            misfit=calibrated.misfit,
            summary=fitted.summary | {"hyperparameters": told},
            pull=calibrated.pull,
            found_posterior=calibrated.posterior,
            left_out=found.left_out,
        )
        return widened.ready(), rows

    def with_shared_draws(self, fitted: FittedGP, rows: Compressor) -> FittedGP:
        """With draws for fast error bars, where errors on structures left out can calibrate them."""
        features = features_for(self.made.features)
        left_out = [one for one in rows.kept if one.place is not None]
        if len(left_out) < MIN_STRUCTURES or features.knows == "energy":
            return fitted
        found = fitted.left_out or residuals_of(left_out, fitted.posterior, fitted.noise)
        made = self.made._replace(features=(features,), kernels=kernels_for(None, 1, self.made.elements))
        parameters = {**self.parameters, "n_components": None, "inducing": "fps", "n_inducing": AUTO}
        work = self._replace(made=made, parameters=parameters)
        rng = copy.deepcopy(self.drawing)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", KernpotWarning)  # what it would tell, the model's own fit has told
            source, its_rows = work.fitted(min(N_INDUCING, fitted.n_inducing), "fps", rng)
        draws = shared_draws(source, its_rows.kept, found, self.parameters["n_draws"], rng.randint(2**31 - 1))
        return replace(fitted, shared=draws)

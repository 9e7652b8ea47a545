"""The estimator: all that kernpot's contract of a potential asks for."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from ase import Atoms
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from kernpot.backend.answering import AnsweringMixin
from kernpot.backend.requirements import require_described
from kernpot.backend.selection import Selection, choose, distinct_candidates, expected_noise
from kernpot.backend.summary import data_hash, describe_data
from kernpot.calibration.held_out import calibrate as rescale
from kernpot.calibration.misfit import Misfit, misfit_data, misfit_from
from kernpot.calibration.spread import Spread
from kernpot.descriptors import Features, default_descriptor, features_from_dict, features_of
from kernpot.errors import KernpotError
from kernpot.files.container import write_model
from kernpot.files.parts import factor_of, factor_tensors
from kernpot.files.training import pack, unpack
from kernpot.nnp.calibration import held_out_forces, held_out_misfit
from kernpot.prediction import EnergyStd, LeftOut
from kernpot.regression.factor import LabelFactor, triangle_of
from kernpot.regression.search import search_hyperparameters
from kernpot.structures.checks import require_fitted
from kernpot.structures.labels import label_structures, require_any_energy, require_any_label
from kernpot.structures.noise import NoiseModel
from kernpot.structures.reference import is_isolated_atom, isolated_atom_energies
from kernpot.surfaces.draws import Draws, PotentialDraw
from kernpot.surfaces.variances import TermVariance
from linear_potential.model import Fitted, potentials_of, rows_of


class LinearPotential(AnsweringMixin, BaseEstimator):
    """Bayesian linear regression of atomic energies on the features of a descriptor."""

    def __init__(
        self, descriptor: Any = None, noise: Any = None, random_state: int | None = None, progress: Any = None
    ) -> None:
        self.descriptor, self.noise, self.random_state, self.progress = descriptor, noise, random_state, progress

    _fitted: Fitted

    def fit(self, structures, energies=None, forces=None, stress=None) -> Self:
        labelled = label_structures(structures, energies, forces, stress)
        require_any_energy(labelled)
        elements = tuple(sorted({int(z) for s in labelled for z in s.atoms.numbers}))
        features = features_of(default_descriptor(elements) if self.descriptor is None else self.descriptor)
        require_described(labelled, [features])
        isolated = isolated_atom_energies(labelled)
        held = [s for k, s in enumerate(labelled) if k % 5 == 4 and not is_isolated_atom(s)]
        learnt = [s for s in labelled if s not in held]
        factors = _factors(learnt, features, elements, isolated)
        fixed = NoiseModel.from_user(self.noise).fixed
        levels = {kind: fixed.get(kind, expected_noise()[kind]) for kind in factors}
        amplitude = torch.ones(1, dtype=torch.float64)
        block = torch.zeros(next(iter(factors.values())).n_inducing, dtype=torch.int64)
        found, _ = search_hyperparameters(
            factors, block, levels, set(fixed), amplitude, torch.zeros(1, dtype=torch.bool)
        )
        summary = {"data": describe_data(labelled), "data_hash": data_hash(labelled), "updates": []}
        summary["size"] = {"weights": len(block)}
        none = {kind: Misfit(0.0) for kind in ("energy", "forces", "stress")}
        amplitude = float(found.amplitudes[0])
        self._fitted = _calibrated(
            Fitted(
                features, elements, isolated, factors, found.noise, amplitude, none, tuple(learnt), tuple(held), summary
            )
        )
        return self

    def partial_fit(self, structures, energies=None, forces=None, stress=None) -> Self:
        if not self.__sklearn_is_fitted__():
            return self.fit(structures, energies, forces, stress)
        labelled, fitted = label_structures(structures, energies, forces, stress), self._fitted
        require_any_label(labelled)
        for s in labelled:
            require_fitted(s.atoms, fitted.elements, s.source)
        require_described(labelled, [fitted.features])
        factors, noise = dict(fitted.factors), dict(fitted.noise)
        for kind, factor in _factors(labelled, fitted.features, fitted.elements, fitted.isolated).items():
            factors[kind] = factors[kind].merged(factor) if kind in factors else factor
            noise.setdefault(kind, expected_noise()[kind])
        updates = [*fitted.summary["updates"], {"data": describe_data(labelled), "data_hash": data_hash(labelled)}]
        both = (*fitted.labelled, *labelled)
        self._fitted = replace(
            fitted, factors=factors, noise=noise, labelled=both, summary=fitted.summary | {"updates": updates}
        )
        return self

    def update(self, structures: Sequence[Atoms]) -> Self:
        return self.partial_fit(structures)

    def calibrate(self, held_out: Sequence[Atoms]) -> Self:
        check_is_fitted(self)
        labelled = label_structures(held_out)
        self._frames([s.atoms for s in labelled])
        fitted = self._fitted
        misfit, found = rescale(fitted.predictor, labelled, fitted.misfit, fitted.labelled)
        updates = [*fitted.summary["updates"], {"calibration": found, "data_hash": data_hash(labelled)}]
        self._fitted = replace(fitted, misfit=misfit, summary=fitted.summary | {"updates": updates})
        return self

    def energy_std(self, atoms: Atoms, pairs=None) -> EnergyStd:
        check_is_fitted(self)
        require_fitted(atoms, self.elements_, "structure")
        return self._predictor.energy_std(atoms, self._fitted.draw_scale, pairs)

    def screen(self) -> None:
        check_is_fitted(self)

    def left_out(self) -> list[LeftOut]:
        check_is_fitted(self)
        if not self._fitted.held:
            raise KernpotError("no structure was left out of this fit")
        return held_out_forces(self._predictor, list(self._fitted.held), self._fitted.misfit["forces"])

    def select(self, structures, k: int, random_part: float = 0.5) -> Selection:
        fitted = getattr(self, "_fitted", None)
        known = () if fitted is None else (*fitted.labelled, *fitted.held)
        candidates = distinct_candidates(structures, known, k, random_part)
        elements = tuple(sorted({int(z) for s in candidates.values() for z in s.atoms.numbers}))
        if fitted is None:
            features = features_of(default_descriptor(elements) if self.descriptor is None else self.descriptor)
            require_described(list(candidates.values()), [features])
            width = len(elements) * features.n_features
            unit = potentials_of(features, elements, dict.fromkeys(elements, 0.0), torch.eye(width).double())
            root, scale, levels = torch.eye(width).double(), 1.0, expected_noise()
        else:
            for s in candidates.values():
                require_fitted(s.atoms, fitted.elements, s.source)
            unit, root, scale = fitted.unit, fitted.posterior.root, fitted.amplitude
            levels = expected_noise() | fitted.noise

        def rows(s):
            found = unit(s.atoms)
            parts = [
                found.energies[:, None] / len(s.atoms) / levels["energy"],
                found.forces.reshape(len(unit), -1) / levels["forces"],
            ]
            b = scale * torch.from_numpy(np.concatenate(parts, 1).T.copy())
            return b if len(b) <= len(unit) else triangle_of(b)

        return choose(candidates, root, rows, k, random_part, check_random_state(self.random_state), None)

    def sample_potentials(self, n: int, random_state=None, posterior: str = "calibrated") -> Draws:
        check_is_fitted(self)
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise KernpotError(f"n must be a positive number of draws, got {n!r}.")
        fitted = self._fitted
        seeds = check_random_state(random_state).randint(2**31 - 1, size=n)
        scale = fitted.draw_scale if posterior == "calibrated" else 1.0
        drawn = [fitted.posterior.sample(1, torch.Generator().manual_seed(int(s)), scale) for s in seeds]
        mean = PotentialDraw(fitted.average, fitted.elements, self.cutoff)
        return Draws(fitted.with_weights(torch.cat(drawn)), mean, ("parameter",), posterior)

    def energy_variance(self) -> TermVariance:
        check_is_fitted(self)
        return TermVariance(self._fitted.deviating_terms(), self._fitted.draw_scale)

    @property
    def elements_(self) -> tuple[int, ...]:
        check_is_fitted(self)
        return self._fitted.elements

    @property
    def draw_scale_(self) -> float:
        check_is_fitted(self)
        return self._fitted.draw_scale

    @property
    def summary_(self) -> dict[str, Any]:
        check_is_fitted(self)
        return copy.deepcopy(self._fitted.summary)

    @property
    def cutoff(self) -> float:
        check_is_fitted(self)
        return self._fitted.features.cutoff

    def save(self, path) -> None:
        check_is_fitted(self)
        fitted = self._fitted
        training, tensors = pack([*fitted.labelled, *fitted.held])
        for g, factor in enumerate(fitted.factors.values()):
            tensors |= factor_tensors(f"factor.{g}", factor)
        header = {
            "kind": "LinearPotential",
            "elements": list(fitted.elements),
            "isolated_atoms": {str(z): e for z, e in fitted.isolated.items()},
            "descriptors": [fitted.features.to_dict()],
            "groups": list(fitted.factors),
            "noise": fitted.noise,
            "amplitude": fitted.amplitude,
            "misfit": {kind: misfit_data(m) for kind, m in fitted.misfit.items()},
            "training": training,
            "held": len(fitted.held),
            "parameters": {"random_state": self.random_state},
            "summary": fitted.summary,
        }
        write_model(path, header, tensors)

    @classmethod
    def from_file_contents(cls, header, tensors) -> Self:
        features = features_from_dict(header["descriptors"][0])
        elements = tuple(header["elements"])
        width = len(elements) * features.n_features
        factors = {group: factor_of(f"factor.{g}", tensors, width, 1) for g, group in enumerate(header["groups"])}
        training = unpack(header["training"], tensors)
        first = len(training) - header["held"]
        estimator = cls(features.descriptor, **header["parameters"])
        estimator._fitted = Fitted(
            features,
            elements,
            {int(z): e for z, e in header["isolated_atoms"].items()},
            factors,
            header["noise"],
            header["amplitude"],
            {kind: misfit_from(m) for kind, m in header["misfit"].items()},
            tuple(training[:first]),
            tuple(training[first:]),
            header["summary"],
        )
        return estimator

    @property
    def _predictor(self) -> Spread:
        return self._fitted.predictor

    @property
    def _descriptors(self) -> tuple[Features, ...]:
        return (self._fitted.features,)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")


def _factors(labelled, features, elements, isolated) -> dict[str, LabelFactor]:
    width = len(elements) * features.n_features
    unit = potentials_of(features, elements, dict.fromkeys(elements, 0.0), torch.eye(width).double())
    factors: dict[str, LabelFactor] = {}
    for s in labelled:
        for kind, (b, y) in rows_of(unit, s, isolated).items():
            factors.setdefault(kind, LabelFactor.empty(width, 1)).add(b, y, b.square().sum(1, keepdim=True))
    return factors


def _calibrated(fitted: Fitted) -> Fitted:
    return replace(fitted, misfit=held_out_misfit(fitted.predictor, fitted.held, fitted.noise))

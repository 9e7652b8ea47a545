"""Structures that nobody has labelled yet: the rows of the labels they would have."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from sklearn.utils import check_random_state
from torch import Tensor

from kernpot.backend.requirements import require_described
from kernpot.backend.selection import EXPECTED_NOISE, Selection, choose, distinct_candidates
from kernpot.functionals.state import Structure
from kernpot.gp.amplitudes import Hyperparameters
from kernpot.gp.learning.training import ingredients
from kernpot.gp.rows.maker import RowMaker
from kernpot.gp.rows.whitening import Whitening
from kernpot.progress import reporting
from kernpot.regression.factor import triangle_of
from kernpot.structures.checks import require_fitted
from kernpot.structures.labels import LABEL_KINDS, LabelledStructure
from kernpot.structures.noise import kind_of

if TYPE_CHECKING:
    from kernpot.gp.estimator import SparseGPPotential


class CandidateRows:
    """Rows of the labels that structures would have, each divided by its noise.

    Parameters
    ----------
    maker : RowMaker
    amplitudes : Tensor of shape (n_blocks,), eV
    noise : mapping of str to float
        Noise per group; of other groups that of their kind, or `EXPECTED_NOISE`.
    kinds : collection of str
        Kinds of labels that will be computed; stress only where all three directions are periodic.
    """

    def __init__(self, maker: RowMaker, amplitudes: Tensor, noise: Mapping[str, float], kinds: Collection[str]) -> None:
        self._maker, self._kinds = maker, set(kinds)
        self._scale = amplitudes[maker.whitening.block]
        self._noise = EXPECTED_NOISE | {kind_of(group): level for group, level in noise.items()} | dict(noise)

    @classmethod
    def of_fitted(
        cls, maker: RowMaker, amplitudes: Tensor, noise: Mapping[str, float], groups: Collection[str]
    ) -> CandidateRows:
        """For a model that has learnt labels of these noise groups: those of the same kinds will be computed."""
        return cls(maker, amplitudes, noise, {kind_of(group) for group in groups})

    @classmethod
    def of_pool(cls, pool: Sequence[LabelledStructure], parameters: Mapping[str, Any]) -> CandidateRows:
        """For a model that has learnt nothing: inducing environments come from the pool, noise is what is expected.

        Parameters
        ----------
        pool : sequence of LabelledStructure
        parameters : mapping
            Those of :class:`kernpot.gp.estimator.SparseGPPotential`.
        """
        made = ingredients(pool, parameters)
        rng = check_random_state(parameters["random_state"])
        blocks, _ = made.inducing_blocks([s.atoms for s in pool], parameters, rng)
        # Energies of isolated atoms shift labels, which play no part.
        maker = RowMaker(made.features, Whitening(blocks), made.noise, dict.fromkeys(made.elements, 0.0))
        return cls(maker, Hyperparameters(blocks, made.kernels).amplitudes(), made.noise.fixed, LABEL_KINDS)

    @property
    def n_inducing(self) -> int:
        """Length of a row."""
        return len(self._scale)

    def __call__(self, candidate: LabelledStructure) -> Tensor:
        """Rows (n, M) of a structure; an equivalent triangle where it has more than M labels."""
        n = len(candidate.atoms)
        labels: dict[str, Any] = {"energy": 0.0, "forces": np.zeros((n, 3)), "stress": np.zeros(6)}
        missing = set(LABEL_KINDS) - self._kinds | (set() if all(candidate.atoms.pbc) else {"stress"})
        structure = Structure(self._maker.descriptors, candidate.atoms)
        parts = self._maker(replace(candidate, **(labels | dict.fromkeys(missing))), structure)
        rows = torch.cat([part.rows / self._level(part.group) for part in parts]) * self._scale
        return rows if len(rows) <= self.n_inducing else triangle_of(rows)

    def _level(self, group: str) -> float:
        return self._noise[group] if group in self._noise else self._noise[kind_of(group)]


def select(estimator: SparseGPPotential, structures: Sequence[Atoms], k: int, random_part: float) -> Selection:
    """Structures that would teach an estimator most: what it has learnt counts; if it has not, nothing is known yet."""
    candidates = distinct_candidates(structures, getattr(estimator, "_training", None) or (), k, random_part)
    if estimator.__sklearn_is_fitted__():
        for s in candidates.values():
            require_fitted(s.atoms, estimator.elements_, s.source)
        require_described(list(candidates.values()), estimator._features)
        rows = CandidateRows.of_fitted(
            estimator._maker, estimator._hyperparameters.amplitudes(), estimator.noise_, estimator._factors
        )
        root = estimator._posterior.root
    else:
        rows = CandidateRows.of_pool(list(candidates.values()), estimator.get_params(deep=False))
        root = torch.eye(rows.n_inducing, dtype=torch.float64)
    rng = check_random_state(estimator.random_state)
    with reporting(estimator.progress) as report:
        return choose(candidates, root, rows, k, random_part, rng, report)

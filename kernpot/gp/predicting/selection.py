"""Structures that nobody has labelled yet: the rows of the labels they would have."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.backend.randomness import Drawing
from kernpot.backend.requirements import require_described
from kernpot.backend.selection import Selection, choose, distinct_candidates, expected_noise
from kernpot.functionals.descriptions import Descriptions
from kernpot.functionals.state import Structure
from kernpot.gp.amplitudes import Amplitudes
from kernpot.gp.fitted import FittedGP
from kernpot.gp.learning.ingredients import ingredients
from kernpot.gp.learning.size import first_number
from kernpot.gp.learning.way import ways_for
from kernpot.gp.rows.maker import RowMaker
from kernpot.gp.rows.whitening import Whitening
from kernpot.progress import reporting
from kernpot.regression.factor import triangle_of
from kernpot.structures.checks import require_fitted
from kernpot.structures.kinds import LABEL_KINDS
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import kind_of


class CandidateRows:
    """Rows of the labels that structures would have, each divided by its noise.

    Parameters
    ----------
    maker : RowMaker
    amplitudes : Tensor of shape (n_blocks,), eV
    noise : mapping of str to float
        Noise per group; of other groups that of their kind, or what is expected of it.
    kinds : collection of str
        Kinds of labels that will be computed; stress only where all three directions are periodic.
    """

    def __init__(self, maker: RowMaker, amplitudes: Tensor, noise: Mapping[str, float], kinds: Collection[str]) -> None:
        self._maker, self._kinds = maker, set(kinds)
        self._scale = amplitudes[maker.whitening.block]
        self._noise = expected_noise() | {kind_of(group): level for group, level in noise.items()} | dict(noise)

    @classmethod
    def of_fitted(cls, fitted: FittedGP) -> CandidateRows:
        """For a model that has learnt: labels of the same kinds will be computed."""
        return cls(fitted.maker, fitted.amplitudes, fitted.noise, fitted.kinds)

    @classmethod
    def of_pool(cls, pool: Sequence[LabelledStructure], parameters: Mapping[str, Any]) -> CandidateRows:
        """For a model that has learnt nothing: inducing environments come from the pool, noise is what is expected.

        Parameters
        ----------
        pool : sequence of LabelledStructure
        parameters : mapping
            Those of :class:`kernpot.SparseGPPotential`.
        """
        made = ingredients(pool, parameters)
        described = Descriptions(made.features, [s.atoms for s in pool])
        drawing = Drawing(parameters["random_state"])
        n_inducing, way = first_number(parameters["n_inducing"]), ways_for(parameters, pool, made.features)[0]
        blocks, _ = made.inducing_blocks(described, parameters, n_inducing, way, drawing.rng)
        drawing.keep()
        # Energies of isolated atoms shift labels, which play no part.
        maker = RowMaker(made.features, Whitening(blocks), made.noise, dict.fromkeys(made.elements, 0.0))
        return cls(maker, Amplitudes(blocks, made.kernels).values(), made.noise.fixed, LABEL_KINDS)

    @property
    def n_inducing(self) -> int:
        """Length of a row."""
        return len(self._scale)

    def __call__(self, candidate: LabelledStructure) -> Tensor:
        """Rows (n, M) of a structure; an equivalent triangle where it has more than M labels."""
        n = len(candidate.atoms)
        labels: dict[str, Any] = {"energy": 0.0, "forces": np.zeros((n, 3)), "stress": np.zeros(6)}
        structure = Structure(self._maker.descriptors, candidate.atoms)
        missing = set(LABEL_KINDS) - self._kinds | (set() if structure.volume is not None else {"stress"})
        if any(f.knows == "energy" for f in self._maker.descriptors):
            missing |= {"forces"}
        parts = self._maker(replace(candidate, **(labels | dict.fromkeys(missing))), structure)
        rows = torch.cat([part.rows / self._level(part.group) for part in parts]) * self._scale
        return rows if len(rows) <= self.n_inducing else triangle_of(rows)

    def _level(self, group: str) -> float:
        return self._noise[group] if group in self._noise else self._noise[kind_of(group)]


def select(
    fitted: FittedGP | None,
    parameters: Mapping[str, Any],
    structures: Sequence[Atoms],
    k: int,
    random_part: float,
) -> Selection:
    """Structures that would teach most: what a fit has learnt counts; without one nothing is known yet."""
    candidates = distinct_candidates(structures, () if fitted is None else fitted.training or (), k, random_part)
    pool = list(candidates.values())
    if fitted is not None:
        for s in pool:
            require_fitted(s.atoms, fitted.elements, s.source)
        require_described(pool, fitted.features)
        rows, root = CandidateRows.of_fitted(fitted), fitted.posterior.root
    else:
        rows = CandidateRows.of_pool(pool, parameters)
        root = torch.eye(rows.n_inducing, dtype=torch.float64)
    drawing = Drawing(parameters["random_state"])
    with reporting(parameters["progress"]) as report:
        selection = choose(candidates, root, rows, k, random_part, drawing.rng, report)
    drawing.keep()
    return selection

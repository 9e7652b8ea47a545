"""Split-conformal intervals: widths that hold whatever the distribution of errors, if blocks of data are exchangeable.

The score of a label is ``|error| / std``. Labels of one block (a trajectory, a structure) belong together, so each of K
blocks gets the weight ``1 / (K + 1)``, spread evenly over its scores, and the block to come a score of infinity. The
quantile of that distribution multiplies the predicted std. This is the hierarchical conformal prediction of Lee, Barber
and Willett (arXiv:2306.06342): the pooled distribution functions of Dunn, Wasserman and Ramdas (J. Am. Stat. Assoc.
118, 2491 (2023)), made valid for finite samples. With one score in each block it is the ``ceil((K + 1) level) / K``
quantile of ordinary split-conformal prediction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kernpot.errors import KernpotError, StructureError
from kernpot.prediction import Prediction
from kernpot.structures.labels import source_of
from kernpot.uncertainty.evaluation import evaluate
from kernpot.uncertainty.scores import FloatArray, standardised

if TYPE_CHECKING:
    from kernpot.potential import Potential


@dataclass(frozen=True, eq=False)
class BlockScores:
    """Scores of one kind of label.

    Attributes
    ----------
    score : ndarray of shape (n,)
        ``|error| / std``, in growing order.
    weight : ndarray of shape (n,)
        Of each score: 1 / (number of scores of its block); the weights of a block add up to 1.
    n_blocks : int
        Number of blocks.
    """

    score: FloatArray
    weight: FloatArray
    n_blocks: int


@dataclass(frozen=True, eq=False)
class ConformalIntervals:
    """Intervals for labels of new blocks, from `conformal`.

    A component drawn at random from a new block lies inside with a probability of at least the level, on average over
    blocks (old and new). **This assumes that the new block is exchangeable with the held-out ones**: drawn in the same
    way, from the same conditions. It fails at another temperature, or for a phase or composition that was not held out,
    and it is no promise for every single block.

    Attributes
    ----------
    scores : mapping of str to BlockScores
        Scores of ``"energy"``, ``"forces"`` and ``"stress"``, as far as the held-out structures have such labels.
    """

    scores: Mapping[str, BlockScores]

    def factor(self, kind: str, level: float = 0.9) -> float:
        """Factor on the std that makes an interval of this level; 1.64 at 0.9 if the stds are right and Gaussian.

        Parameters
        ----------
        kind : str
            ``"energy"``, ``"forces"`` or ``"stress"``.
        level : float, default=0.9
            Probability between 0 and 1, both excluded.

        Raises
        ------
        ValueError
            If `level` is not inside (0, 1).
        KernpotError
            If no held-out structure has such a label, or the blocks are too few for the level.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must lie between 0 and 1 (0.9 means 90 %), got {level}")
        if kind not in self.scores:
            raise KernpotError(f"no scores of {kind!r}: the held-out structures have {', '.join(self.scores)} labels")
        found = self.scores[kind]
        # Rounding must not ask for one block more than 0.9 needs.
        wanted = level * (found.n_blocks + 1) - 1e-9
        if wanted > found.n_blocks:
            needed = math.ceil(level / (1.0 - level) - 1e-9)
            raise KernpotError(
                f"{100 * level:g} % conformal intervals need at least {needed} held-out blocks, got {found.n_blocks}; "
                "hold out more trajectories, or ask for a lower level"
            )
        place = int(np.searchsorted(np.cumsum(found.weight), wanted))
        factor = float(found.score[min(place, found.score.size - 1)])
        if not math.isfinite(factor):
            raise KernpotError(
                f"no width of {100 * level:g} % {kind} intervals exists: stds of zero met errors in the held-out blocks"
            )
        return factor

    def interval(self, prediction: Prediction, kind: str, level: float = 0.9) -> tuple[FloatArray, FloatArray]:
        """Interval for labels of one kind of a structure, in the unit of the quantity.

        Parameters
        ----------
        prediction : Prediction
            By the potential that was calibrated.
        kind : str
            ``"energy"`` (total, eV), ``"forces"`` (eV/Angstrom) or ``"stress"`` (eV/Angstrom^3).
        level : float, default=0.9
            Probability.

        Returns
        -------
        low, high : ndarray of the quantity's shape
            ``mean -+ factor std``.

        Raises
        ------
        KernpotError
            As `factor`, or if the prediction has no such quantity.
        """
        factor = self.factor(kind, level)
        quantity = getattr(prediction, kind)
        if quantity is None:
            raise KernpotError(
                f"the prediction has no {kind}: only structures periodic in three directions have stress"
            )
        return quantity.mean - factor * quantity.std, quantity.mean + factor * quantity.std


def conformal(
    potential: Potential, held_out: Sequence[Atoms], group_key: str | None = "trajectory"
) -> ConformalIntervals:
    """Conformal intervals from structures that the potential has not learnt from.

    Parameters
    ----------
    potential : Potential
        A fitted potential.
    held_out : sequence of ase.Atoms
        Labelled structures, neither used in the fit nor cut from a trajectory that was.
    group_key : str or None, default="trajectory"
        Name in ``atoms.info`` of the block a structure belongs to. None makes every structure a block of its own, which
        is right only if they were drawn independently (not along one trajectory).

    Returns
    -------
    ConformalIntervals
        See there for the assumption they rest on. Components that vanish by symmetry are left out.

    Raises
    ------
    StructureError
        If a structure or label is unusable, or lacks ``info[group_key]``.
    """
    blocks = _blocks(held_out, group_key)
    found = {}
    for kind, comparison in evaluate(potential, held_out).comparisons.items():
        judged = comparison.judged
        if judged.label.size:
            found[kind] = block_scores(np.abs(standardised(judged.error, judged.std)), blocks[judged.structure])
    return ConformalIntervals(found)


def block_scores(score: FloatArray, block: NDArray[np.int64]) -> BlockScores:
    """Order scores and weigh them by block.

    Parameters
    ----------
    score : ndarray of shape (n,)
        ``|error| / std``.
    block : ndarray of int of shape (n,)
        Which block each belongs to.
    """
    _, owner, size = np.unique(block, return_inverse=True, return_counts=True)
    order = np.argsort(score, kind="stable")
    return BlockScores(score[order], 1.0 / size[owner[order]], size.size)


def _blocks(structures: Sequence[Atoms], group_key: str | None) -> NDArray[np.int64]:
    if group_key is None:
        return np.arange(len(structures))
    names = []
    for index, atoms in enumerate(structures):
        if group_key not in atoms.info:
            raise StructureError(
                f"{source_of(atoms, index)}: no info[{group_key!r}] says which block it belongs to; name another "
                "group_key, or None if the structures were drawn independently"
            )
        names.append(str(atoms.info[group_key]))
    return np.unique(names, return_inverse=True)[1]

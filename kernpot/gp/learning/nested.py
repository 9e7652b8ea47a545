"""Smaller models inside a sparse one: the first inducing environments of every block, at no cost in rows.

Rows are whitened by Cholesky factors, so that the first columns of a block are those of the model that has the first of
its inducing environments alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from kernpot.gp.rows.maker import KeptRows
from kernpot.regression.factor import LabelFactor


class Compressed(NamedTuple):
    """What the labels of a fit say of its inducing environments.

    Attributes
    ----------
    factors : mapping of str to LabelFactor
        By noise group.
    block : Tensor of shape (M,), int64
        Block of every inducing environment.
    kept : sequence of KeptRows
        Structures that are left out in turn.
    """

    factors: Mapping[str, LabelFactor]
    block: Tensor
    kept: Sequence[KeptRows]


def leading(whole: Compressed, n_inducing: int) -> Compressed:
    """The same for the first inducing environments of every block, an equal part of each; itself if it has no more."""
    if len(whole.block) <= n_inducing:
        return whole
    columns = _leading_columns(whole.block, n_inducing)
    kept = [
        replace(one, parts=[replace(part, rows=part.rows[:, columns].contiguous()) for part in one.parts])
        for one in whole.kept
    ]
    factors = {group: factor.of_columns(columns) for group, factor in whole.factors.items()}
    return Compressed(factors, whole.block[columns], kept)


def _leading_columns(block: Tensor, n: int) -> Tensor:
    chosen = []
    for b in torch.unique(block).tolist():
        own = torch.nonzero(block == b).squeeze(1)
        chosen.append(own[: max(1, len(own) * n // len(block))])
    return torch.cat(chosen)

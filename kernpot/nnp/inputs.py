"""What the networks see of an environment: its features, standardised in the directions in which they vary.

Features of one descriptor are strongly correlated, and their variances span many orders of magnitude. The inputs are
the principal components of an element's training environments, each divided by a power of its standard deviation:
fully standardised (a power of one) the least of them would be as loud as the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Power of the components' standard deviations that they are divided by, relative to the first, which has unit variance.
_POWER = 0.5
# Components whose variance is below this part of the first one's are rounding of the features.
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Inputs:
    """``z = (x - mean) projection`` of the features ``x`` of one element.

    Attributes
    ----------
    mean : Tensor of shape (n_features,)
    projection : Tensor of shape (n_features, n_inputs)
    """

    mean: Tensor
    projection: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Inputs (n, n_inputs) from features (n, n_features)."""
        return (features - self.mean) @ self.projection


def fit_inputs(features: Sequence[Tensor], n_components: int) -> Inputs:
    """Inputs from the training environments of one element.

    Parameters
    ----------
    features : sequence of Tensor of shape (n, n_features)
    n_components : int
        Largest number of inputs; there are fewer when the features vary in fewer directions.
    """
    x = torch.cat(list(features))
    mean = x.mean(0)
    variances, directions = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    variances, directions = variances.flip(0), directions.flip(1)
    largest = float(variances[0])
    if largest <= _ROUNDING * float(mean.square().mean()):  # one environment, or copies of it: nothing varies
        variances, largest = torch.ones_like(variances), float(mean.square().mean()) or 1.0
        return Inputs(mean, (directions[:, :1] / largest**0.5).contiguous())
    n = min(n_components, int((variances > _ROUNDING * largest).sum()))
    scale = (variances[:n] / largest) ** (-0.5 * _POWER) / largest**0.5
    # The sign of an eigenvector is the library's choice: the largest component is made positive.
    kept = directions[:, :n]
    signs = kept.gather(0, kept.abs().argmax(0)[None]).sign()
    # In the order of the model file, so that products round alike before and after.
    return Inputs(mean, (kept * signs * scale).contiguous())

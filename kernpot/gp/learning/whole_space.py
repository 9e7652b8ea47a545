"""The posterior mean without the bounds of inducing environments, where energies are quadratic forms.

For ``zeta = 2`` every function of the prior is a quadratic form ``u^T A u`` of the features. Inducing environments span
a part of these forms, and what they leave out of forces is mostly the derivatives of the environments that are there.
The mean in the whole space minimises, over all symmetric ``A``,

    sum over labels of ((y - X A) / sigma)^2 + sum over blocks of |A|^2 / amplitude^2,

which is Gaussian-process regression with all labels and no approximation (the kernel of every label with every other is
``X X^T``). Conjugate gradients find it; a product with ``X^T X`` costs one evaluation and one derivative of every
environment (:mod:`kernpot.functionals.form_products`). They are preconditioned by the sparse model: its posterior
covariance in the span of the inducing environments, the prior outside.

**Errors on structures left out.** Some structures, in groups, are each left out of a system of their own, which is
solved beside the one that has all labels, by the same steps: their errors are errors on unseen structures, and end the
search for the number of steps and the scale of the noise.

**Inducing directions.** A form is a sum over its eigenvectors ``q`` of ``lambda (u . q)^2``, that is of kernels with
environments ``q``. Those of the part of the mean that the inducing environments do not span become inducing
environments themselves: the sparse model that has them all contains the mean, so its own mean is the same, for it
minimises the same sum over a part that holds the minimum. The smallest are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kernpot.calibration.residuals import log_score
from kernpot.functionals.descriptions import Descriptions
from kernpot.functionals.form_products import KINDS_OF_FORMS, FormBlock, FormSpace
from kernpot.functionals.state import InducingBlock
from kernpot.gp.fitted import FittedGP
from kernpot.gp.inducing.directions import second_moments
from kernpot.gp.learning.form_labels import FormLabels, OfStructures
from kernpot.gp.rows.maker import KeptRows
from kernpot.kernels import CosineKernel
from kernpot.progress import Report
from kernpot.regression.conjugate_gradients import ConjugateGradients
from kernpot.regression.posterior import Posterior, weights_without
from kernpot.structures.labels import LabelledStructure, n_labels

# Directions that forms are made of: those with more than this part of all that environments and their derivatives show,
# and so many at most.
_SEEN, _DIRECTIONS = 1e-11, 500
# Structures left out of a system, as a part of all: at most, and where there are enough of them; how many are enough,
# and how many there are to be in all systems.
_MOST_PART, _PART, _ENOUGH, _FEWEST = 0.1, 0.05, 25, 50
# Scales tried on the noise of the sparse model, which asked for it in part for what it could not represent. Each is
# solved from the sparse mean: from where a larger one ended, less noise shows its worth too late.
_SCALES = (0.125, 0.5, 1.0)
# Steps at one scale; how far errors must fall, per kind of label, in so many of them, or in the last third, to go on.
_STEPS, _PATIENCE, _WORTH = 400, 20, 0.005
# What errors may rise by, per kind of label, where the noise is changed and no step made.
_WORSE = 0.1
# Random products for the diagonal of the precision.
_SIGNS = 64
# Features of environments times directions, systems and steps: for each label, so that few of them are soon learnt, and
# in all, some six minutes on two cores.
_PER_LABEL, _WORK = 1e8, 4.4e12
# Of the size of these forms, what directions that are left out may have; and how many directions there may be.
_LEFT_OUT, _MOST = 1e-3, 1000


class WholeSpace(NamedTuple):
    """What the search found.

    Attributes
    ----------
    blocks : list of InducingBlock
        With inducing directions after the inducing environments.
    scale : float
        Of the noise.
    left_out : dict of int to (dict of str to Tensor)
        Label less prediction of each structure left out.
    told : dict
        JSON-able.
    """

    blocks: list[InducingBlock]
    scale: float
    left_out: OfStructures
    told: dict[str, Any]


def can_be_widened(kernels: Sequence[CosineKernel], labelled: Sequence[LabelledStructure]) -> bool:
    """Whether all energies are quadratic forms, and all labels of kinds that these can be held against."""
    quadratic = all(function.power == 2 for kernel in kernels for function in kernel.functions)
    return quadratic and all(set(s.kinds) <= set(KINDS_OF_FORMS) for s in labelled)


def groups_left_out(kept: Sequence[int], n_structures: int) -> list[list[int]]:
    """Structures in groups that are small parts of all, as many groups as it takes to have enough of them.

    Parameters
    ----------
    kept : sequence of int
        Places of those that can be left out, the first ones first.
    n_structures : int
        All there are.
    """
    size = max(1, min(int(_MOST_PART * n_structures), max(_ENOUGH, int(_PART * n_structures))))
    n = -(-min(len(kept), _FEWEST) // size)
    chosen = list(kept)[: n * size]
    return [sorted(chosen[first::n]) for first in range(n)]


def whole_space(
    fitted: FittedGP,
    labelled: Sequence[LabelledStructure],
    groups: Sequence[Sequence[KeptRows]],
    fixed: Collection[str],
    rng: np.random.RandomState,
    report: Report | None,
) -> WholeSpace | None:
    """Search the whole space of quadratic forms from where the sparse model is; None where that gains nothing.

    Parameters
    ----------
    fitted : FittedGP
        The sparse model.
    labelled : sequence of LabelledStructure
        What it was fitted to.
    groups : sequence of sequence of KeptRows
        Structures that are left out together.
    fixed : collection of str
        Groups of labels whose noise stays.
    rng : RandomState
        Draws displacements that directions are learnt from.
    """
    space = _space(fitted, labelled, rng)
    places = [[one.place for one in group if one.place is not None] for group in groups]
    # The model that comes of it is solved for anew, in double precision.
    labels = FormLabels(labelled, fitted.features, fitted.noise_model, fitted.isolated, space.single(), places)
    sparse = _Sparse(fitted, space)
    work = min(_WORK, _PER_LABEL * sum(map(n_labels, labelled)))
    budget = int(work / (labels.n_systems * _work(space, fitted, labelled)))
    search = _Search(labels, sparse, fitted, groups, fixed, budget, report)
    best = search.best()
    if best is None:
        return None
    rest = space.forms(sparse.outside(best.forms)[None])
    blocks, n_added = _with_directions(fitted.whitening.blocks, space, [form[0] for form in rest])
    told = {
        "structures": sum(map(len, groups)),
        "groups": len(groups),
        "steps": best.steps,
        "noise_scale": best.scale,
        "directions": n_added,
        "errors_before": search.before,
        "errors": best.mae,
    }
    return WholeSpace(blocks, best.scale, best.left_out, told)


def _work(space: FormSpace, fitted: FittedGP, labelled: Sequence[LabelledStructure]) -> float:
    """Products of features and directions in one sweep of one system."""
    numbers = np.concatenate([s.atoms.numbers for s in labelled])
    return float(
        sum((numbers == b.element).sum() * fitted.features[b.descriptor].n_features * b.size for b in space.blocks)
    )


def _space(fitted: FittedGP, labelled: Sequence[LabelledStructure], rng: np.random.RandomState) -> FormSpace:
    """Forms of every inducing block: in its own directions, or in those that environments show."""
    structures = Descriptions(fitted.features, [s.atoms for s in labelled])
    own = {b.descriptor for b in fitted.whitening.blocks if b.basis is None}
    numbers = np.concatenate([atoms.numbers for atoms in structures.atoms])
    bases = {d: _directions(second_moments(structures, d, rng), numbers) for d in sorted(own)}
    found = []
    for b in fitted.whitening.blocks:
        basis = bases[b.descriptor][b.element] if b.basis is None else b.basis
        found.append(FormBlock(b.descriptor, b.element, basis))
    return FormSpace(found)


def _directions(moments: Mapping[int, Tensor], numbers: np.ndarray) -> dict[int, Tensor]:
    """Those that environments of each element and their derivatives show; all where there are too few to tell."""
    found = {}
    for z, moment in moments.items():
        if (numbers == z).sum() < len(moment) <= _DIRECTIONS:
            found[z] = torch.eye(len(moment), dtype=torch.float64)
            continue
        values, vectors = torch.linalg.eigh(moment)
        n = min(_DIRECTIONS, max(1, int((values > _SEEN * values.sum()).sum())))
        found[z] = vectors[:, -n:].flip(1).contiguous()
    return found


class _Sparse:
    """The inducing environments among all forms.

    Attributes
    ----------
    prior : Tensor of shape (n,)
        Prior variance of every entry of the forms.
    """

    def __init__(self, fitted: FittedGP, space: FormSpace) -> None:
        self._whitening, self._space, self._fitted = fitted.whitening, space, fitted
        blocks = zip(fitted.whitening.blocks, space.blocks, strict=True)
        self._environments = [
            b.environments if b.basis is not None else of.coordinates(b.environments) for b, of in blocks
        ]
        self.scale = fitted.amplitudes[fitted.whitening.block]
        sizes = torch.tensor([b.size**2 for b in space.blocks])
        self.prior = torch.repeat_interleave(fitted.amplitudes.square(), sizes)

    def vector(self, whitened: Tensor) -> Tensor:
        """The forms with whitened weights (M,), as a vector (n,)."""
        weights = self._whitening.weights(whitened)
        blocks = zip(self._whitening.blocks, self._environments, strict=True)
        return torch.cat([((e.mT * weights[b.columns]) @ e).flatten() for b, e in blocks])

    def products(self, vector: Tensor) -> Tensor:
        """Inner products (M,) of the forms (n,) with the whitened inducing functions."""
        out = torch.empty(len(self.scale), dtype=torch.float64)
        blocks = zip(self._whitening.blocks, self._environments, self._space.forms(vector[None]), strict=True)
        for b, e, form in blocks:
            out[b.columns] = ((e @ form[0]) * e).sum(1)
        return self._whitening(out[None])[0]

    def outside(self, vector: Tensor) -> Tensor:
        """The part (n,) of forms that the inducing environments do not span."""
        return vector - self.vector(self.products(vector))

    def posterior(self, noise: Mapping[str, float]) -> Posterior:
        """At other noise."""
        fitted = self._fitted
        return Posterior(fitted.factors, fitted.whitening.block, noise, fitted.amplitudes)

    def means(self, posterior: Posterior, groups: Sequence[Sequence[KeptRows]], noise: Mapping[str, float]) -> Tensor:
        """Forms of the sparse mean without each of the groups, and with all labels, as vectors (K, n)."""
        weights = []
        for group in groups:
            parts = [part for one in group for part in one.parts]
            rows = torch.cat([part.rows / noise[part.group] for part in parts]) * self.scale
            targets = torch.cat([part.targets / noise[part.group] for part in parts])
            weights.append(weights_without(posterior, rows, targets))
        weights.append(posterior.whitened_weights)
        return torch.stack([self.vector(w * self.scale) for w in weights])


class _Preconditioner:
    """The sparse posterior covariance in the span of the inducing environments, a diagonal outside.

    The diagonal is that of the precision, estimated from products with random signs (Bekas, Kokiopoulou, Saad, Applied
    Numerical Mathematics 57, 1214 (2007)).
    """

    def __init__(self, sparse: _Sparse, posterior: Posterior, labels: FormLabels, noise: Mapping[str, float]) -> None:
        self._sparse, self._posterior = sparse, posterior
        curvature = torch.zeros_like(sparse.prior)
        for one in labels.signed(noise, _SIGNS, torch.Generator().manual_seed(0)):
            curvature += sparse.outside(one).square()
        for form in labels.space.forms(curvature[None]):
            # Entries off the diagonal come twice in every form.
            form.mul_(2.0).diagonal(dim1=1, dim2=2).div_(2.0)
        self._variance = 1.0 / (1.0 / sparse.prior + curvature)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Products (K, n)."""
        sparse, root = self._sparse, self._posterior.root
        out = torch.empty_like(vectors)
        for k, vector in enumerate(vectors):
            inside = sparse.products(vector)
            half = self._posterior.half((inside * sparse.scale)[None])
            known = torch.linalg.solve_triangular(root, half, upper=True)[:, 0]
            scaled = (vector - sparse.vector(inside)) * self._variance
            out[k] = scaled + sparse.vector(known * sparse.scale - sparse.products(scaled))
        return out


def in_order(scores: Mapping[float, float], most: float) -> list[float]:
    """Scales of the noise, the least of those whose start has no larger score than ``most`` first.

    Where it has, the mean follows noise that is there, and takes many steps to come back from that.
    """
    good = sorted(scale for scale, score in scores.items() if score <= most)
    return good + sorted(scores.keys() - set(good), key=scores.__getitem__)


class _Best(NamedTuple):
    """Where a scale of the noise led to: forms (n,) with all labels, after so many steps in all."""

    forms: Tensor
    scale: float
    steps: int
    score: float
    mae: dict[str, float]
    left_out: OfStructures


class _Search:
    """Steps of conjugate gradients, while errors on structures left out fall."""

    def __init__(
        self,
        labels: FormLabels,
        sparse: _Sparse,
        fitted: FittedGP,
        groups: Sequence[Sequence[KeptRows]],
        fixed: Collection[str],
        budget: int,
        report: Report | None,
    ) -> None:
        self._labels, self._sparse, self._fitted, self._fixed = labels, sparse, fitted, set(fixed)
        self._groups = groups
        self._left, self._report, self._steps = budget, report, 0
        self._most = min(budget, _STEPS * len(_SCALES))
        self._targets = labels.targets()
        # Of the model that stays if nothing is found.
        start = sparse.means(fitted.posterior, groups, fitted.noise)
        self.before = self._mae(labels.sweep(start, fitted.noise)[1])

    def best(self) -> _Best | None:
        """What the first scale leads to at which errors fall; None where no step can be made, or they do not fall."""
        before = log_score(self.before)
        for scale in self._order(before):
            if self._left <= 0:
                break
            found = self._at(scale)
            if found.score < before - len(found.mae) * _WORTH:
                return found
        return None

    def _order(self, before: float) -> list[float]:
        """Scales as they are tried, by how good the sparse mean is at each."""
        scores = {}
        for scale in _SCALES:
            noise = self._noise(scale)
            start = self._sparse.means(self._sparse.posterior(noise), self._groups, noise)
            scores[scale] = log_score(self._mae(self._labels.sweep(start, noise)[1]))
        return in_order(scores, before + len(self.before) * _WORSE)

    def _noise(self, scale: float) -> dict[str, float]:
        return {g: s if g in self._fixed else scale * s for g, s in self._fitted.noise.items()}

    def _at(self, scale: float) -> _Best:
        noise = self._noise(scale)
        posterior = self._sparse.posterior(noise)
        start = self._sparse.means(posterior, self._groups, noise)
        residual, predicted = self._labels.sweep(start, noise, residual=True)
        residual -= start / self._sparse.prior
        solver = ConjugateGradients(start, residual, _Preconditioner(self._sparse, posterior, self._labels, noise))
        scores = [log_score(self._mae(predicted))]
        best = self._kept(solver.solution, scale, scores[0], predicted)
        while len(scores) <= _STEPS and self._left > 0:
            image, moved = self._labels.sweep(solver.direction, noise)
            image += solver.direction / self._sparse.prior
            lengths = solver.step(image)
            for place, of_kinds in predicted.items():
                length = lengths[self._labels.system_without(place)]
                for kind, values in of_kinds.items():
                    values.add_(moved[place][kind], alpha=float(length))
            scores.append(log_score(self._mae(predicted)))
            self._steps += 1
            self._left -= 1
            if self._report:
                self._report("steps in the whole space", self._steps, self._most)
            if scores[-1] < best.score:
                best = self._kept(solver.solution, scale, scores[-1], predicted)
            patience = max(_PATIENCE, len(scores) // 3)
            if len(scores) > patience and scores[-1 - patience] - scores[-1] < _WORTH * len(best.mae):
                break
        return best

    def _kept(self, solution: Tensor, scale: float, score: float, predicted: OfStructures) -> _Best:
        """What is there now, whatever follows."""
        left_out = {
            place: {kind: self._targets[place][kind] - values for kind, values in of_kinds.items()}
            for place, of_kinds in predicted.items()
        }
        return _Best(solution[-1].clone(), scale, self._steps, score, self._mae(predicted), left_out)

    def _mae(self, predicted: OfStructures) -> dict[str, float]:
        """Mean absolute errors, by kind of label."""
        errors: dict[str, list[Tensor]] = {}
        for place, of_kinds in predicted.items():
            for kind, values in of_kinds.items():
                errors.setdefault(kind, []).append((self._targets[place][kind] - values).abs())
        return {kind: float(torch.cat(found).mean()) for kind, found in errors.items()}


def _with_directions(
    blocks: Sequence[InducingBlock], space: FormSpace, rest: Sequence[Tensor]
) -> tuple[list[InducingBlock], int]:
    """Blocks with eigenvectors of forms that they do not span, and how many these are."""
    found = [torch.linalg.eigh(form) for form in rest]
    sizes = torch.cat([values.abs() for values, _ in found])
    order = torch.argsort(sizes, descending=True)
    tail = sizes[order].square().flip(0).cumsum(0).flip(0)
    n = min(_MOST, int((tail > _LEFT_OUT**2 * tail[0]).sum())) if len(tail) and tail[0] > 0 else 0
    chosen = torch.zeros(len(sizes), dtype=torch.bool)
    chosen[order[:n]] = True
    out: list[InducingBlock] = []
    start = first = 0
    for block, of, (values, vectors) in zip(blocks, space.blocks, found, strict=True):
        new = vectors.mT[chosen[first : first + len(values)]]
        first += len(values)
        if block.basis is None:
            new = of.features(new)
        environments = torch.cat([block.environments, new])
        out.append(replace(block, environments=environments, columns=slice(start, start + len(environments))))
        start += len(environments)
    return out, n

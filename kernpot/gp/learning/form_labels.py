"""All labels of a fit against quadratic forms, several systems at once: one sweep over the structures for a product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kernpot.descriptors.features import Features
from kernpot.functionals.form_products import KINDS_OF_FORMS, FormProducts, FormSpace
from kernpot.functionals.labels import functional_of
from kernpot.functionals.state import Structure
from kernpot.parallel.threads import in_threads
from kernpot.structures.kinds import KINDS
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import NoiseModel

# Numbers that described structures may hold, 1.6 GB, and how many each pair of atoms has; those beyond are made anew in
# every sweep.
_HELD, _PER_PAIR = 200_000_000, 300
# Atoms of the structures that are multiplied at once, where several are smaller than that.
_AT_ONCE = 200


class _Label(NamedTuple):
    """One label: values less isolated atoms and their relative noise, both (n,); zero and infinite where unknown."""

    values: Tensor
    scale: Tensor
    group: str


OfStructures = dict[int, dict[str, Tensor]]
"""By place of a structure and kind of label, values (n,) over the relative noise of the structure's labels."""


class FormLabels:
    """The labels of a fit, in one system for each group of structures that is left out, and one with all of them.

    Parameters
    ----------
    labelled : sequence of LabelledStructure
    features : sequence of Features
    noise_model : NoiseModel
    isolated : mapping of int to float
        eV.
    space : FormSpace
    groups : sequence of sequence of int
        Places of the structures left out of each system but the last.
    """

    def __init__(
        self,
        labelled: Sequence[LabelledStructure],
        features: Sequence[Features],
        noise_model: NoiseModel,
        isolated: Mapping[int, float],
        space: FormSpace,
        groups: Sequence[Sequence[int]],
    ) -> None:
        self._labelled, self._features, self.space = labelled, list(features), space
        self.n_systems = len(groups) + 1
        self._system_without = {place: k for k, group in enumerate(groups) for place in group}
        self._labels = [_labels_of(one, noise_model, isolated) for one in labelled]
        self._batches = _batches([len(one.atoms) for one in labelled])
        self._kept: dict[int, FormProducts] = {}
        self._left = _HELD

    def system_without(self, place: int) -> int:
        """The system that a structure is left out of."""
        return self._system_without[place]

    def targets(self) -> OfStructures:
        """The labels that are left out of a system."""
        return {
            place: {kind: label.values / label.scale for kind, label in self._labels[place].items()}
            for place in self._system_without
        }

    def sweep(self, vectors: Tensor, noise: Mapping[str, float], residual: bool = False) -> tuple[Tensor, OfStructures]:
        """``X^T W X v``, or ``X^T W (y - X v)``, and the predictions ``X v`` of what each system leaves out.

        ``W`` holds the inverse squares of the noise.

        Parameters
        ----------
        vectors : Tensor of shape (n_systems, space.n)
        noise : mapping of str to float
            By group.
        residual : bool
            Whether to multiply what is left of the labels.
        """
        forms = self.space.forms(vectors.to(self.space.dtype))
        n_parts = torch.get_num_threads()
        # Before threads share what is kept.
        for batch in range(len(self._batches)):
            self._keep(batch)
        parts = [range(first, len(self._batches), n_parts) for first in range(n_parts)]

        def share(batches: range) -> tuple[Tensor, OfStructures]:
            total = torch.zeros(vectors.shape, dtype=self.space.dtype)
            sums = self.space.forms(total)
            left_out: OfStructures = {}
            for batch in batches:
                left_out |= self._one(batch, forms, sums, noise, residual)
            return total, left_out

        total = torch.zeros_like(vectors)
        left_out: OfStructures = {}
        for part, found in in_threads(share, parts):
            total += part
            left_out |= found
        for form in self.space.forms(total):
            form.add_(form.mT.clone())
        return total, dict(sorted(left_out.items()))

    def signed(self, noise: Mapping[str, float], n: int, generator: torch.Generator) -> Tensor:
        """``X^T W^(1/2) z`` (n, space.n) with random signs ``z``, of the labels of every nth structure each."""
        total = torch.zeros((n, self.space.n), dtype=self.space.dtype)
        for batch, places in enumerate(self._batches):
            self._keep(batch)
            for place, structure in zip(places, self._of(batch).structures, strict=True):
                weights = {}
                for kind, label in self._labels[place].items():
                    sign = 2.0 * torch.randint(2, label.scale.shape, generator=generator).double() - 1.0
                    weights[kind] = (sign / (label.scale * noise[label.group]))[None]
                which = place % n
                alone = FormProducts([structure], self.space)
                alone.add_sums([weights], self.space.forms(total[which : which + 1]))
        for form in self.space.forms(total):
            form.add_(form.mT.clone())
        return total.double()

    def _keep(self, batch: int) -> None:
        """Describe structures once for all sweeps, while there is room."""
        if batch in self._kept or self._left <= 0:
            return
        self._kept[batch] = products = self._of(batch)
        described = [d for structure in products.structures for d in structure.described]
        self._left -= sum(2 * d.unit.numel() + _PER_PAIR * len(d.block.vectors) for d in described)

    def _of(self, batch: int) -> FormProducts:
        """Of structures that are described already, or anew."""
        if batch in self._kept:
            return self._kept[batch]
        places = self._batches[batch]
        return FormProducts([Structure(self._features, self._labelled[p].atoms) for p in places], self.space)

    def _one(
        self, batch: int, forms: list[Tensor], sums: list[Tensor], noise: Mapping[str, float], residual: bool
    ) -> OfStructures:
        """Add what some structures give; their predictions by the systems that leave them out."""
        products, places = self._of(batch), self._batches[batch]
        of_all: list[dict[str, Tensor]] = []
        left_out: OfStructures = {}
        for place, predicted in zip(places, products.labels(forms), strict=True):
            out = self._system_without.get(place)
            weights: dict[str, Tensor] = {}
            for kind, label in self._labels[place].items():
                of_kind = predicted[kind]
                if out is not None:
                    left_out.setdefault(place, {})[kind] = of_kind[out] / label.scale
                weight = (label.values - of_kind if residual else of_kind) / (label.scale * noise[label.group]).square()
                if out is not None:
                    weight[out] = 0.0
                weights[kind] = weight
            of_all.append(weights)
        products.add_sums(of_all, sums)
        return left_out


def _batches(sizes: Sequence[int]) -> list[list[int]]:
    """Places of the structures that are multiplied at once."""
    found: list[list[int]] = []
    left = 0
    for place, size in enumerate(sizes):
        if size > left:
            found.append([])
            left = _AT_ONCE
        found[-1].append(place)
        left -= size
    return found


def _labels_of(
    labelled: LabelledStructure, noise_model: NoiseModel, isolated: Mapping[int, float]
) -> dict[str, _Label]:
    found = {}
    for kind in KINDS_OF_FORMS:
        label = labelled.label(kind)
        if label is None:
            continue
        known = labelled.known(kind)
        size = len(labelled.atoms) if KINDS[kind].extensive else 1
        fixed = functional_of(kind).fixed(labelled.atoms.numbers, isolated)
        values = np.where(known, np.ravel(label) - fixed, 0.0)
        scale = np.where(known, size * labelled.scales(kind), np.inf)
        found[kind] = _Label(torch.from_numpy(values), torch.from_numpy(scale), noise_model.group(labelled, kind))
    return found

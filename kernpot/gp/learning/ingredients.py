"""What an estimator's parameters come to for given structures, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kernpot.backend.requirements import require_described
from kernpot.descriptors.features import Features
from kernpot.functionals.descriptions import Descriptions
from kernpot.functionals.labels import functional_of
from kernpot.functionals.state import InducingBlock
from kernpot.gp.inducing.blocks import choose, components_of, fill_up, given, warn_of_few
from kernpot.gp.inducing.directions import learn_bases
from kernpot.gp.learning.size import first_number
from kernpot.gp.memory import require_memory_for
from kernpot.gp.settings import AUTO, check_settings, descriptors_for, kernels_for
from kernpot.kernels import CosineKernel
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import NoiseModel


class Ingredients(NamedTuple):
    """Descriptors, kernels with an amplitude for every element, noise model, and the elements that occur."""

    features: tuple[Features, ...]
    kernels: list[CosineKernel]
    noise: NoiseModel
    elements: tuple[int, ...]

    def inducing_blocks(
        self,
        structures: Descriptions,
        parameters: Mapping[str, Any],
        n_inducing: int,
        way: str,
        rng: np.random.RandomState,
    ) -> tuple[list[InducingBlock], int]:
        """Inducing environments from these structures, chosen that way, or those given in the parameters.

        The number is that of environments of displaced copies among them.
        """
        components = components_of(self.kernels)
        bases = learn_bases(structures, parameters["n_components"], rng)
        inducing = parameters["inducing"]
        if isinstance(inducing, str):
            blocks = choose(structures, components, n_inducing, way, rng, bases)
            filled = fill_up(blocks, structures.atoms, self.features, n_inducing, rng)
            in_use = filled[-1].columns.stop
            n_displaced = in_use - blocks[-1].columns.stop
            can_be_displaced = all(f.describes_anything for f in self.features)
            if parameters["n_inducing"] != AUTO and in_use < n_inducing and not n_displaced and can_be_displaced:
                warn_of_few(in_use, n_inducing)
            return filled, n_displaced
        return given(inducing, self.features, components, self.elements, bases), 0


def require_rows(structures: Sequence[LabelledStructure]) -> None:
    """Raise KernpotError when a structure has labels of a kind that nobody has said the rows of."""
    for kind in sorted({kind for structure in structures for kind in structure.kinds}):
        functional_of(kind)


def ingredients(structures: Sequence[LabelledStructure], parameters: Mapping[str, Any]) -> Ingredients:
    """Check an estimator's parameters, and that its descriptors fit the structures and their labels.

    Parameters
    ----------
    structures : sequence of LabelledStructure
    parameters : mapping
        Those of :class:`kernpot.SparseGPPotential`.
    """
    noise = NoiseModel.from_user(parameters["noise"])
    check_settings(parameters)
    elements = tuple(sorted({int(z) for s in structures for z in s.atoms.numbers}))
    features = descriptors_for(parameters["descriptor"], elements)
    require_described(structures, features)
    require_rows(structures)
    if isinstance(parameters["inducing"], str):
        require_memory_for(structures, features, first_number(parameters["n_inducing"]))
    return Ingredients(features, kernels_for(parameters["kernel"], len(features), elements), noise, elements)

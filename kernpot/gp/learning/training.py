"""The data side of a fit: from labelled structures to inducing environments and compressed labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from kernpot.backend.requirements import require_described
from kernpot.descriptors import SOAPFeatures
from kernpot.functionals.state import InducingBlock
from kernpot.gp.inducing.blocks import choose, fill_up, given
from kernpot.gp.inducing.directions import learn_bases
from kernpot.gp.learning.leave_one_out import choose_kept
from kernpot.gp.rows.compress import compress
from kernpot.gp.rows.maker import KeptRows, RowMaker
from kernpot.gp.rows.whitening import Whitening
from kernpot.gp.settings import check_settings, descriptors_for, kernels_for
from kernpot.kernels import SOAPKernel
from kernpot.progress import Report
from kernpot.regression.factor import LabelFactor
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import NoiseModel
from kernpot.structures.reference import isolated_atom_energies


@dataclass(frozen=True, eq=False)
class DescribedTraining:
    """What a fit knows before it learns hyperparameters.

    Attributes
    ----------
    features : list of SOAPFeatures
    kernels : list of SOAPKernel
        With an amplitude for every element, as they start.
    whitening : Whitening
    maker : RowMaker
    factors : dict of str to LabelFactor
        Compressed labels per noise group.
    kept : list of KeptRows
        Rows of the structures to leave out.
    noise : NoiseModel
    isolated : dict of int to float
        Isolated-atom energies, eV.
    elements : tuple of int
    n_displaced : int
        Inducing environments that are of displaced copies.
    """

    features: list[SOAPFeatures]
    kernels: list[SOAPKernel]
    whitening: Whitening
    maker: RowMaker
    factors: dict[str, LabelFactor]
    kept: list[KeptRows]
    noise: NoiseModel
    isolated: dict[int, float]
    elements: tuple[int, ...]
    n_displaced: int


class Ingredients(NamedTuple):
    """What an estimator's parameters come to for given structures, checked.

    Attributes
    ----------
    features : list of SOAPFeatures
    kernels : list of SOAPKernel
    noise : NoiseModel
    elements : tuple of int
    """

    features: list[SOAPFeatures]
    kernels: list[SOAPKernel]
    noise: NoiseModel
    elements: tuple[int, ...]

    def inducing_blocks(
        self, atoms: Sequence[Atoms], parameters: Mapping[str, Any], rng: np.random.RandomState
    ) -> tuple[list[InducingBlock], int]:
        """Inducing environments from these structures, or those given in the parameters.

        The number is that of environments of displaced copies among them.
        """
        zetas = [k.zeta for k in self.kernels]
        bases = learn_bases(self.features, atoms, parameters["n_components"], rng)
        inducing = parameters["inducing"]
        if isinstance(inducing, str):
            n_inducing = parameters["n_inducing"]
            blocks = choose(atoms, self.features, zetas, n_inducing, inducing, rng, bases)
            filled = fill_up(blocks, atoms, self.features, n_inducing, rng)
            return filled, filled[-1].columns.stop - blocks[-1].columns.stop
        return given(inducing, self.features, zetas, self.elements, bases), 0


def ingredients(structures: Sequence[LabelledStructure], parameters: Mapping[str, Any]) -> Ingredients:
    """Check an estimator's parameters, and that its descriptors fit the structures."""
    noise = NoiseModel.from_user(parameters["noise"])
    check_settings(parameters, noise)
    elements = tuple(sorted({int(z) for s in structures for z in s.atoms.numbers}))
    features = descriptors_for(parameters["descriptor"], elements)
    require_described(structures, features)
    return Ingredients(features, kernels_for(parameters["kernel"], len(features), elements), noise, elements)


def describe_training(
    labelled: Sequence[LabelledStructure],
    parameters: Mapping[str, Any],
    rng: np.random.RandomState,
    report: Report | None,
) -> DescribedTraining:
    """Check everything, then choose inducing environments and compress the labels.

    Parameters
    ----------
    labelled : sequence of LabelledStructure
    parameters : mapping
        Those of :class:`kernpot.gp.estimator.SparseGPPotential`.
    rng : RandomState
    report : callable, optional
        Called with (stage, done, total).
    """
    made = ingredients(labelled, parameters)
    made.noise.require_known(labelled)
    isolated = isolated_atom_energies(labelled, parameters["isolated_atoms"])
    # Drawn first, so that the structures left out are the same whatever the inducing environments.
    keep = choose_kept(labelled, rng) if parameters["optimize"] else set()
    blocks, n_displaced = made.inducing_blocks([s.atoms for s in labelled], parameters, rng)
    whitening = Whitening(blocks)
    maker = RowMaker(made.features, whitening, made.noise, isolated)
    compressed = compress(labelled, maker, keep, parameters["n_jobs"], report)
    return DescribedTraining(
        made.features,
        made.kernels,
        whitening,
        maker,
        compressed.factors,
        compressed.kept,
        made.noise,
        isolated,
        made.elements,
        n_displaced,
    )

"""Draws from a distribution of potentials, each a potential itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NoReturn, get_args, overload

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from kernpot.calculator import KernpotCalculator
from kernpot.descriptors.demands import require_any_geometry
from kernpot.errors import KernpotError
from kernpot.prediction import DrawPredictions, MeanPrediction, PairPrediction
from kernpot.structures.checks import require_elements, require_fitted
from kernpot.structures.neighbours import Pairs
from kernpot.surfaces.potentials import Potentials, folded_slopes

Part = Literal["parameter", "unrepresented"]


PARTS: tuple[Part, ...] = get_args(Part)


class PotentialDraw:
    """One potential of the posterior: a draw, or the mean that draws scatter about.

    Parameters
    ----------
    potentials : Potentials
        A single one.
    elements : tuple of int
    cutoff : float

    Attributes
    ----------
    potentials : Potentials
    elements_ : tuple of int
        Atomic numbers the potential knows.
    cutoff : float
        Largest distance (Angstrom) at which atoms interact directly.
    """

    def __init__(self, potentials: Potentials, elements: tuple[int, ...], cutoff: float) -> None:
        self.potentials, self.elements_, self.cutoff = potentials, elements, cutoff

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Energy, atomic energies, forces and stress of one structure under this potential.

        Parameters
        ----------
        pairs : Pairs, optional
            All pairs within :attr:`cutoff`, when the caller keeps a neighbour list.

        Raises
        ------
        StructureError
            When the structure holds other elements.
        """
        require_fitted(atoms, self.elements_, "structure")
        return self.potentials(atoms, pairs)[0]

    def along_pairs(
        self, numbers: NDArray[np.int64], pairs: Pairs, n_centres: int, std: bool = False
    ) -> PairPrediction:
        """Energies of centres and their slopes along pairs, see :meth:`kernpot.potential.Surface.along_pairs`.

        Raises
        ------
        KernpotError
            With ``std``: one potential has no error bars.
        """
        if std:
            self.predict_full([])
        require_elements(numbers, self.elements_, "the atoms")
        energies, slopes = self.potentials.along_pairs(torch.from_numpy(numbers), pairs, n_centres)
        gradient = folded_slopes(pairs, [block[0] for block in slopes])
        return PairPrediction(energies[0].numpy(), gradient)

    def calculator(self, skin: float = 0.5) -> KernpotCalculator:
        """ASE calculator; its ``prediction`` is refused, as one potential has no error bars.

        Raises
        ------
        DescriptorError
            Features that are arrays on the atoms do not follow them.
        """
        require_any_geometry(self.potentials.descriptors)
        return KernpotCalculator(self, skin=skin)

    def predict_full(self, structures: Sequence[Atoms] | Atoms, covariance: bool = False) -> NoReturn:  # noqa: ARG002
        """Refused: one potential has no error bars.

        Raises
        ------
        KernpotError
            Always.
        """
        raise KernpotError(
            "a single draw of the posterior has no error bars: ask the fitted potential for predict_full, or take the "
            "spread of draws.evaluate(atoms)."
        )


class Draws(Sequence[PotentialDraw]):
    """Draws from the posterior of a potential, as a sequence of potentials.

    Parameters
    ----------
    potentials : Potentials
    mean : PotentialDraw
        What they scatter about.
    parts : tuple of str
        Parts they carry.
    posterior : str

    Attributes
    ----------
    potentials : Potentials
        All of them, evaluated together.
    mean_potential : PotentialDraw
    parts : tuple of str
    posterior : str

    Examples
    --------
    >>> draws = gp.sample_potentials(20, random_state=0)
    >>> draws.evaluate(atoms).energies.shape
    (20,)
    >>> atoms.calc = draws[0].calculator()
    >>> atoms.get_forces().shape
    (4, 3)
    """

    def __init__(self, potentials: Potentials, mean: PotentialDraw, parts: tuple[Part, ...], posterior: str) -> None:
        self.potentials, self.mean_potential, self.parts, self.posterior = potentials, mean, parts, posterior

    def __len__(self) -> int:
        return len(self.potentials)

    @overload
    def __getitem__(self, index: int) -> PotentialDraw: ...
    @overload
    def __getitem__(self, index: slice) -> Draws: ...
    def __getitem__(self, index: int | slice) -> PotentialDraw | Draws:
        if isinstance(index, slice):
            return Draws(self.potentials.chosen(index), self.mean_potential, self.parts, self.posterior)
        k = range(len(self))[index]
        mean = self.mean_potential
        return PotentialDraw(self.potentials.chosen(slice(k, k + 1)), mean.elements_, mean.cutoff)

    def evaluate(self, atoms: Atoms, pairs: Pairs | None = None) -> DrawPredictions:
        """Energies, forces and stress of one structure under every draw; much cheaper than one draw at a time.

        Parameters
        ----------
        pairs : Pairs, optional
            All pairs within the potential's cutoff, when the caller keeps a neighbour list.

        Raises
        ------
        StructureError
            When the structure holds elements unknown to the potential.
        """
        require_fitted(atoms, self.mean_potential.elements_, "structure")
        return self.potentials(atoms, pairs)

    def __repr__(self) -> str:
        return f"Draws({len(self)} potentials, parts={self.parts}, posterior={self.posterior!r})"

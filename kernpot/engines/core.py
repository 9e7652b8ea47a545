"""The one function that every engine's adapter calls: ``(pairs, species, rij) -> e_i, dE/drij, std_i``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from kernpot.descriptors.compiled.pairs import fold
from kernpot.errors import StructureError
from kernpot.potential import Surface
from kernpot.prediction import MeanPrediction, PairPrediction
from kernpot.structures.neighbours import Pairs

FloatArray = NDArray[np.float64]


class PairFunction:
    """A potential as a function of pairs of atoms, without any idea of a cell, of images or of who owns an atom.

    The energy of an atom depends on the vectors to its neighbours within the cutoff, so that

        E = sum_i e_i({r_ij}),   f_i += dE/drij,   f_j -= dE/drij,   dE/dstrain = sum_p dE/drij rij^T

    hold for periodic images, ghost atoms of other processes and many structures at once alike (:func:`folded`).

    Parameters
    ----------
    potential : Surface
        A fitted potential, or a draw from its posterior.

    Attributes
    ----------
    potential : Surface
    cutoff : float
        Pairs within it are needed, Angstrom; farther ones do no harm.
    elements : tuple of int
        Atomic numbers the potential knows.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.neighborlist import neighbor_list
    >>> from kernpot.engines import PairFunction
    >>> i, j, rij = neighbor_list("ijD", atoms, potential.cutoff)
    >>> found = PairFunction(potential)(np.stack([i, j], axis=1), atoms.numbers, rij)
    >>> found.energies.shape, found.std.shape, found.gradient.shape == rij.shape
    ((4,), (4,), True)
    """

    def __init__(self, potential: Surface) -> None:
        self.potential = potential
        self.cutoff = float(potential.cutoff)
        self.elements = tuple(potential.elements_)

    def __call__(
        self, pairs: ArrayLike, species: ArrayLike, rij: ArrayLike, n_centres: int | None = None, std: bool = True
    ) -> PairPrediction:
        """Energies of centres, their slopes along the pairs and their standard deviations.

        Parameters
        ----------
        pairs : array_like of int, shape (n_pairs, 2)
            Centre i and neighbour j of every ordered pair: both i-j and j-i where both are centres. An atom's images
            are pairs of it with itself, or with atoms (ghosts) that stand for them.
        species : array_like of int, shape (n_atoms,)
            Atomic numbers; the centres come first.
        rij : array_like of float, shape (n_pairs, 3)
            Vectors from i to j, Angstrom.
        n_centres : int, optional
            How many of the atoms are centres, all by default; the others only neighbours.
        std : bool, default=True
            False saves what the standard deviations cost.

        Returns
        -------
        PairPrediction
            ``energies`` (n_centres,) in eV, ``gradient`` (n_pairs, 3) in eV/Angstrom in the order of the pairs, and
            ``std`` (n_centres,) in eV or None: the standard deviation of each centre's energy, as of
            ``Prediction.energies``.

        Raises
        ------
        StructureError
            Shapes do not fit, vectors are not finite, an index is out of range, or an element is unknown.
        """
        numbers = np.ascontiguousarray(species, dtype=np.int64)
        index = np.ascontiguousarray(pairs, dtype=np.int64).reshape(-1, 2)
        vectors = np.ascontiguousarray(rij, dtype=np.float64).reshape(-1, 3)
        n = len(numbers) if n_centres is None else n_centres
        _check(index, numbers, vectors, n)
        centres, neighbours = (np.ascontiguousarray(a) for a in index.T)
        if (np.diff(centres) >= 0).all():
            return self.potential.along_pairs(numbers, _pairs(centres, neighbours, vectors), n, std)
        order = np.argsort(centres, kind="stable")
        ordered = _pairs(centres[order], neighbours[order], vectors[order])
        found = self.potential.along_pairs(numbers, ordered, n, std)
        gradient = np.empty_like(found.gradient)
        gradient[order] = found.gradient
        return PairPrediction(found.energies, gradient, found.std)


def folded(
    pairs: NDArray[np.int64], rij: FloatArray, gradient: FloatArray, n_atoms: int
) -> tuple[FloatArray, FloatArray]:
    """Forces on atoms and the derivative of the energy with respect to strain, from slopes along pairs.

    Parameters
    ----------
    pairs : ndarray of int64, shape (n_pairs, 2)
    rij : ndarray of shape (n_pairs, 3), Angstrom
    gradient : ndarray of shape (n_pairs, 3), eV/Angstrom
    n_atoms : int
        Ghosts included: the forces on them belong to whom they stand for.

    Returns
    -------
    forces : ndarray of shape (n_atoms, 3), eV/Angstrom
    strain : ndarray of shape (3, 3), eV
        ``sum_p gradient_p rij_p^T``: the stress times the volume, minus the virial.
    """
    slope, strain = np.zeros((n_atoms, 3)), np.zeros((3, 3))
    centres, neighbours = (np.ascontiguousarray(a) for a in pairs.T)
    fold(centres, neighbours, rij, gradient, slope, strain)
    return -slope, strain


def evaluated_together(
    function: PairFunction, systems: Sequence[Atoms], pairs: Sequence[Pairs]
) -> list[MeanPrediction]:
    """Energy, forces and (for three periodic directions) stress of several structures in one evaluation.

    Parameters
    ----------
    function : PairFunction
    systems : sequence of ase.Atoms
    pairs : sequence of Pairs
        Those of each structure.
    """
    if not len(systems):
        return []
    first = np.concatenate([[0], np.cumsum([len(atoms) for atoms in systems])])
    ends = np.concatenate([[0], np.cumsum([len(p) for p in pairs])])
    index = np.concatenate(
        [np.stack([p.centres, p.neighbours], axis=1) + start for p, start in zip(pairs, first[:-1], strict=True)]
    )
    vectors, numbers = np.concatenate([p.vectors for p in pairs]), np.concatenate([a.numbers for a in systems])
    found = function(index, numbers, vectors, std=False)
    forces, _ = folded(index, vectors, found.gradient, len(numbers))
    answers = []
    for k, atoms in enumerate(systems):
        own, along, stress = slice(first[k], first[k + 1]), slice(ends[k], ends[k + 1]), None
        if atoms.pbc.all():
            strain = found.gradient[along].T @ vectors[along]
            stress = (0.5 * (strain + strain.T) / atoms.get_volume())[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        energies = found.energies[own]
        answers.append(MeanPrediction(float(energies.sum()), energies, forces[own], stress))
    return answers


def _pairs(centres: NDArray[np.int64], neighbours: NDArray[np.int64], vectors: FloatArray) -> Pairs:
    # images are told by nothing but their vectors
    return Pairs(centres, neighbours, np.broadcast_to(np.int64(0), (len(centres), 3)), vectors)


def _check(pairs: NDArray[np.int64], species: NDArray[np.int64], rij: FloatArray, n_centres: int) -> None:
    if species.ndim != 1 or len(rij) != len(pairs):
        raise StructureError(
            f"expected species (n_atoms,), pairs (n_pairs, 2) and rij (n_pairs, 3), got shapes {species.shape}, "
            f"{pairs.shape} and {rij.shape}."
        )
    if not 0 <= n_centres <= len(species):
        raise StructureError(f"n_centres must lie between 0 and the {len(species)} atoms, got {n_centres}.")
    if not np.isfinite(rij).all():
        first = int(np.argwhere(~np.isfinite(rij))[0, 0])
        i, j = pairs[first]
        raise StructureError(
            f"the vector from atom {i} to atom {j} is {rij[first]}, expected finite numbers in Angstrom: has the "
            "dynamics blown up? Try a smaller time step."
        )
    if len(pairs) and (pairs.min() < 0 or pairs[:, 0].max() >= n_centres or pairs[:, 1].max() >= len(species)):
        raise StructureError(
            f"pairs must join one of the {n_centres} centres with one of the {len(species)} atoms, got centres "
            f"{pairs[:, 0].min()} to {pairs[:, 0].max()} and neighbours {pairs[:, 1].min()} to {pairs[:, 1].max()}."
        )

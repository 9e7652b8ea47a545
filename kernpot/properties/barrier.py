"""Energy barriers along minimum-energy paths, by ASE's nudged elastic band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.mep import NEB
from ase.optimize import FIRE

from kernpot.errors import PropertyError
from kernpot.prediction import ENERGY_UNIT, FloatArray, MeanPrediction
from kernpot.properties.relax import relaxed
from kernpot.uncertainty.propagation import FixedGeometries, SinglePotential


@dataclass(eq=False)
class PathEnergies(FixedGeometries):
    """Energies (n_images,) in eV along a fixed path, relative to its first image; linear in the potential.

    The saddle is stationary, so the spread of the energy of the highest image on the path of the mean potential is that
    of the barrier to first order, at the price of one evaluation per image. :class:`Barrier` goes beyond first order.

    Parameters
    ----------
    path : sequence of ase.Atoms
        Images, from :func:`minimum_energy_path` with the mean potential for instance.
    """

    path: Sequence[Atoms]
    unit = ENERGY_UNIT
    linear = True

    def __post_init__(self) -> None:
        self.structures = _checked(self.path)

    def combine(self, answers: Sequence[MeanPrediction]) -> FloatArray:
        """Energies above the first image."""
        energies = np.array([a.energy for a in answers])
        return energies - energies[0]


@dataclass(eq=False)
class Barrier:
    """Barrier from the first image, eV: both ends and the band are relaxed anew with each potential.

    Parameters
    ----------
    path : sequence of ase.Atoms
        Images to start from; a path of the mean potential is close to those of its draws.
    fmax : float, default=0.03
        Largest force left, across the path for images between (eV/A).
    max_steps : int, default=300
    """

    path: Sequence[Atoms]
    fmax: float = 0.03
    max_steps: int = 300
    unit = ENERGY_UNIT

    def __post_init__(self) -> None:
        _checked(self.path)

    def __call__(self, potential: SinglePotential) -> FloatArray:
        """Barrier with one potential."""
        images = _optimised(potential, self.path, self.fmax, self.max_steps)
        energies = [image.get_potential_energy() for image in images]
        return np.asarray(max(energies) - energies[0])


def minimum_energy_path(
    potential: SinglePotential,
    initial: Atoms,
    final: Atoms,
    n_images: int = 5,
    fmax: float = 0.03,
    max_steps: int = 300,
) -> list[Atoms]:
    """Climbing-image nudged elastic band between two structures (Henkelman et al., J. Chem. Phys. 113, 9901 (2000)).

    Parameters
    ----------
    potential : SinglePotential
        A fitted potential or a draw.
    initial, final : Atoms
        With the same atoms in the same order; relaxed first.
    n_images : int, default=5
        Images between the ends, interpolated by ASE's image-dependent pair potential.
    fmax : float, default=0.03
        Largest force left, eV/A.
    max_steps : int, default=300

    Returns
    -------
    list of ase.Atoms
        ``n_images + 2`` images, without calculators.

    Raises
    ------
    ValueError
        If the ends are not the same atoms in the same order, or there is no image between them.
    PropertyError
        If the band does not converge.
    """
    if n_images < 1:
        raise ValueError(f"n_images must be at least 1, got {n_images}")
    _checked([initial, initial, final])
    path = [initial.copy() for _ in range(n_images + 1)] + [final.copy()]
    NEB(path, method="improvedtangent").interpolate(method="idpp", mic=bool(initial.pbc.any()))
    images = _optimised(potential, path, fmax, max_steps)
    return [image.copy() for image in images]


def _optimised(potential: SinglePotential, path: Sequence[Atoms], fmax: float, max_steps: int) -> list[Atoms]:
    """The band with its ends relaxed and calculators attached."""
    ends = [relaxed(path[k], potential, fmax, max_steps) for k in (0, -1)]
    images = [ends[0], *(image.copy() for image in path[1:-1]), ends[1]]
    for image in images[1:-1]:
        image.calc = potential.calculator()
    optimiser = FIRE(NEB(images, climb=True, method="improvedtangent"), logfile=None)
    if not optimiser.run(fmax=fmax, steps=max_steps):
        raise PropertyError(
            f"the elastic band of {len(images)} images has forces above {fmax} eV/A after {max_steps} steps; start "
            "from a better path or allow more steps"
        )
    return images


def _checked(path: Sequence[Atoms]) -> list[Atoms]:
    if len(path) < 3:
        raise ValueError(f"a path needs its two ends and at least one image between, got {len(path)} structures")
    for k, image in enumerate(path):
        if list(image.numbers) != list(path[0].numbers):
            raise ValueError(
                f"all images must have the same atoms in the same order, but image {k} is "
                f"{image.get_chemical_formula()} and image 0 {path[0].get_chemical_formula()}"
            )
    return list(path)

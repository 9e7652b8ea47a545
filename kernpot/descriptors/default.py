"""The descriptors used when none is given."""

from __future__ import annotations

from collections.abc import Iterable, Sized

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from dscribe.descriptors import ACSF, SOAP

from kernpot.errors import DescriptorError
from kernpot.structures.elements import atomic_number

# (n_max, l_max) by number of elements: features grow with the square of the elements, so the basis shrinks.
_BASIS = {1: (10, 6), 2: (8, 6), 3: (7, 5), 4: (6, 5)}
# Elements from which on features are compressed, as a given number of inducing environments does more with fewer of
# them; and then, Angstrom, the least cutoff, and the power of the weights of neighbours.
_COMPRESSED, _LEAST_CUTOFF, _POWER = 3, 5.0, 3
# Width of the density, Angstrom: that of atoms as small as those of organic molecules, and of others, by the largest
# covalent radius.
_SMALL, _SIGMA_SMALL, _SIGMA = 1.0, 0.4, 0.5

# Symmetry functions: shifted Gaussians, widths of angular ones, their powers.
_N_SHIFTS, _N_WIDTHS, _ZETAS = 8, 3, (1, 4, 16)


def default_descriptor(species: Iterable[int]) -> SOAP:
    """A smooth SOAP for the given elements.

    The cutoff grows with the largest covalent radius (two shells of neighbours in most crystals, the torsions of
    molecules) and the density is weighted by ``(1 + 2 x^3 - 3 x^2)^m`` (``x = r / cutoff``): forces are continuous.
    Atoms are Gaussians 0.5 A wide, 0.4 A where all covalent radii are below 1 A. From three elements on, features are
    compressed by DScribe's ``mu1nu1``, and near neighbours weigh more (``m = 3`` instead of 1). Chosen by errors on
    structures left out of training parts, with 1000 inducing environments (3BPA, acetylacetone, ethanol, Si, NbMoTaW).

    Parameters
    ----------
    species : iterable of int
        Atomic numbers present.

    Raises
    ------
    DescriptorError
        No elements are given.
    """
    numbers, cutoff = _elements(species)
    several = len(numbers) >= _COMPRESSED
    if several:
        cutoff = max(cutoff, _LEAST_CUTOFF)
    n_max, l_max = _BASIS.get(len(numbers), (6, 4))
    return SOAP(
        species=[chemical_symbols[z] for z in numbers],
        r_cut=cutoff,
        n_max=n_max,
        l_max=l_max,
        sigma=_SIGMA_SMALL if max(covalent_radii[z] for z in numbers) < _SMALL else _SIGMA,
        periodic=True,
        weighting={"function": "poly", "r0": cutoff, "c": 1.0, "m": _POWER if several else 1},
        compression={"mode": "mu1nu1" if several else "off", "species_weighting": None},
    )


def default_acsf(species: Iterable[int]) -> ACSF:
    """Symmetry functions for the given elements, with the cutoff of :func:`default_descriptor`.

    Widths and positions follow the grids of Gastegger et al., J. Chem. Phys. 148, 241709 (2018): of ``n`` radii ``r_i``
    from 0.5 A to 1 A below the cutoff, a step ``d`` apart, radial functions sit at ``R_s = r_i`` with
    ``eta = 1 / (2 d^2)`` (eight G2 per element), and angular ones have ``eta = 1 / (2 r_i^2)``, from a bond's length
    (1.5 A) on: a narrower one sees no second neighbour. Angles are resolved by ``zeta = 1, 4, 16`` and
    ``lambda = -1, 1``, from Behler's set (J. Chem. Phys. 134, 074106 (2011)): eighteen G4 per pair of elements.

    Parameters
    ----------
    species : iterable of int
        Atomic numbers present.

    Raises
    ------
    DescriptorError
        No elements are given.
    """
    numbers, cutoff = _elements(species)
    shifts, step = np.linspace(0.5, cutoff - 1.0, _N_SHIFTS, retstep=True)
    widths = np.linspace(1.5, cutoff - 1.0, _N_WIDTHS)
    return ACSF(
        species=[chemical_symbols[z] for z in numbers],
        r_cut=cutoff,
        g2_params=[[0.5 / step**2, shift] for shift in shifts],
        g4_params=[[0.5 / width**2, zeta, lam] for width in widths for zeta in _ZETAS for lam in (-1, 1)],
        periodic=True,
    )


def _elements(species: Iterable[int]) -> tuple[list[int], float]:
    """Atomic numbers, ascending, and the cutoff (Angstrom) that suits the largest of these atoms."""
    listed = list(species) if isinstance(species, Iterable) and not isinstance(species, str) else []
    found = [atomic_number(z) for z in listed]
    if not found or None in found:
        got = "none" if isinstance(species, Sized) and not len(species) else repr(species)
        raise DescriptorError(f"expected the atomic numbers of at least one element, such as [8, 1], got {got}.")
    numbers = sorted({z for z in found if z is not None})
    radius = max(covalent_radii[z] for z in numbers)
    return numbers, round(min(max(3.2 + 1.5 * radius, 4.5), 6.0), 1)

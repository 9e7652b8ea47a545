"""The descriptor used when none is given."""

from __future__ import annotations

from collections.abc import Iterable

from ase.data import chemical_symbols, covalent_radii
from dscribe.descriptors import SOAP

from kernpot.errors import DescriptorError

# (n_max, l_max) by number of elements: features grow with the square of the elements, so the basis shrinks.
_BASIS = {1: (10, 6), 2: (8, 6), 3: (7, 5), 4: (6, 5)}


def default_descriptor(species: Iterable[int]) -> SOAP:
    """A smooth SOAP for the given elements.

    The cutoff grows with the largest covalent radius (two shells of neighbours in most crystals, the torsions of
    molecules) and the density is weighted by ``(1 + 2 x^3 - 3 x^2)^1`` (``x = r / cutoff``): forces are continuous.
    From five elements on, features are compressed by DScribe's ``mu1nu1``.

    Parameters
    ----------
    species : iterable of int
        Atomic numbers present.

    Raises
    ------
    DescriptorError
        No elements are given.
    """
    numbers = sorted({int(z) for z in species})
    if not numbers:
        raise DescriptorError("expected the atomic numbers of at least one element, got none.")
    radius = max(covalent_radii[z] for z in numbers)
    cutoff = round(min(max(3.2 + 1.5 * radius, 4.5), 6.0), 1)
    n_max, l_max = _BASIS.get(len(numbers), (6, 4))
    return SOAP(
        species=[chemical_symbols[z] for z in numbers],
        r_cut=cutoff,
        n_max=n_max,
        l_max=l_max,
        sigma=0.5,
        periodic=True,
        weighting={"function": "poly", "r0": cutoff, "c": 1.0, "m": 1},
        compression={"mode": "off" if len(numbers) < 5 else "mu1nu1", "species_weighting": None},
    )

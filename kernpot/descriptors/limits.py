"""What settings of a descriptor may be, asked before anything is made of them: of a user's, or of a model file's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernpot.errors import DescriptorError
from kernpot.parallel.memory import require_memory
from kernpot.parameters import is_real
from kernpot.structures.elements import LAST, atomic_number

LARGEST_CUTOFF, LARGEST_N_MAX, LARGEST_L_MAX = 100.0, 30, 20
"""Angstrom; radial functions and angular momenta of SOAP, beyond which DScribe finds no orthonormal basis."""

_SMALLEST_SIGMA, _LARGEST_SIGMA = 1e-3, 100.0
# Memory of the lists of features, bytes for each.
_PER_FEATURE = 400


def require_elements(species: Sequence[Any]) -> None:
    """Refuse, with `DescriptorError`, what are no different elements."""
    found = [atomic_number(z) for z in species]
    if not found or None in found or len(set(found)) < len(found):
        raise DescriptorError(
            f"species: expected different symbols or atomic numbers of elements, 1 to {LAST}, got {list(species)!r}."
        )


def require_cutoff(r_cut: Any) -> None:
    """Refuse, with `DescriptorError`, what is no radius of an environment."""
    if not (is_real(r_cut, 0, LARGEST_CUTOFF) and r_cut > 0):
        raise DescriptorError(
            f"r_cut must be a distance in Angstrom above 0 and at most {LARGEST_CUTOFF:g}, got {r_cut!r}; 4 to 7 are "
            "usual."
        )


def require_soap(species: Sequence[Any], r_cut: Any, n_max: Any, l_max: Any, sigma: Any, mode: Any) -> None:
    """Refuse settings of a SOAP that are out of range, or lead to more features than there is memory for.

    Parameters
    ----------
    species : sequence of str or int
    r_cut : float, Angstrom
    n_max, l_max : int
    sigma : float, Angstrom
    mode : str
        Of its compression.

    Raises
    ------
    DescriptorError
        Naming the setting, what was expected and what was got.
    MemoryLimitError
        There are too many features.
    """
    require_elements(species)
    require_cutoff(r_cut)
    for name, value, least, most in (("n_max", n_max, 1, LARGEST_N_MAX), ("l_max", l_max, 0, LARGEST_L_MAX)):
        if not (is_real(value, least, most) and value % 1 == 0):
            raise DescriptorError(f"{name} must be a whole number from {least} to {most}, got {value!r}.")
    if not is_real(sigma, _SMALLEST_SIGMA, _LARGEST_SIGMA):
        raise DescriptorError(f"sigma must be a width from {_SMALLEST_SIGMA:g} to {_LARGEST_SIGMA:g} A, got {sigma!r}.")
    slots = 1 if mode == "mu2" else len(species)
    q = slots * n_max
    radial = {"off": q * (q + 1) // 2, "mu1nu1": q * n_max}.get(mode, q * (n_max + 1) // 2)
    require_features(radial * (l_max + 1), len(species))


def require_features(n_features: int, n_species: int) -> None:
    """Refuse, with `MemoryLimitError`, more features of an atom than there is memory for."""
    require_memory(
        _PER_FEATURE * n_features,
        f"a descriptor of {n_features} features ({n_species} elements)",
        "Take fewer elements, smaller n_max and l_max, or the compression 'mu1nu1'.",
    )

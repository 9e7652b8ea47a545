"""Settings that DScribe's descriptors keep to themselves: the one place where they are read, or set."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from dscribe.descriptors import ACSF, SOAP
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class SOAPSettings(NamedTuple):
    """What a SOAP was made with, and the radial basis that this led to.

    Attributes
    ----------
    numbers : tuple of int
        Atomic numbers, ascending.
    r_cut, sigma, eta : float
    n_max, l_max : int
    rbf : str
    weighting : dict
    species_weights : ndarray of shape (n_species,)
    alphas : ndarray of shape (l_max + 1, n_max)
    betas : ndarray of shape (l_max + 1, n_max, n_max)
    """

    numbers: tuple[int, ...]
    r_cut: float
    sigma: float
    eta: float
    n_max: int
    l_max: int
    rbf: str
    weighting: dict[str, Any]
    species_weights: FloatArray
    alphas: FloatArray
    betas: FloatArray


def soap_settings(soap: SOAP) -> SOAPSettings:
    """Read a SOAP; the basis of DScribe's polynomials has other names and is left empty."""
    gto = soap._rbf == "gto"
    nothing = np.empty(0)
    return SOAPSettings(
        tuple(int(z) for z in soap._atomic_numbers),
        float(soap._r_cut),
        float(soap._sigma),
        float(soap._eta),
        int(soap._n_max),
        int(soap._l_max),
        str(soap._rbf),
        dict(soap._weighting),
        np.asarray(soap._species_weights, dtype=np.float64),
        np.asarray(soap._alphas, dtype=np.float64) if gto else nothing,
        np.asarray(soap._betas, dtype=np.float64) if gto else nothing,
    )


def set_radial_basis(soap: SOAP, alphas: FloatArray, betas: FloatArray) -> None:
    """Let a SOAP use this radial basis."""
    soap._alphas, soap._betas = alphas, betas


def acsf_numbers(acsf: ACSF) -> tuple[int, ...]:
    """Atomic numbers of an ACSF, ascending."""
    return tuple(int(z) for z in acsf._atomic_numbers)

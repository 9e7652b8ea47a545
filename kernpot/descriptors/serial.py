"""DScribe SOAPs as plain data, for the model file."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.data import chemical_symbols
from dscribe.descriptors import SOAP

from kernpot.errors import DescriptorError


def soap_to_dict(soap: SOAP) -> dict[str, Any]:
    """Constructor arguments of a SOAP, and the basis they led to (to notice another DScribe's different basis)."""
    compression = dict(soap.compression)
    weights = compression.get("species_weighting")
    if weights is not None:
        compression["species_weighting"] = {str(k): float(v) for k, v in weights.items()}
    return {
        "species": [chemical_symbols[int(z)] for z in soap._atomic_numbers],
        "r_cut": float(soap._r_cut),
        "n_max": int(soap._n_max),
        "l_max": int(soap._l_max),
        "sigma": float(soap._sigma),
        "rbf": soap._rbf,
        "weighting": {k: (v if isinstance(v, str) else float(v)) for k, v in soap._weighting.items()} or None,
        "average": soap.average,
        "compression": compression,
        "periodic": bool(soap.periodic),
        "basis": {"alphas": soap._alphas.tolist(), "betas": soap._betas.tolist()},
    }


def soap_from_dict(data: dict[str, Any]) -> SOAP:
    """The SOAP that :func:`soap_to_dict` described.

    Raises
    ------
    DescriptorError
        When the installed DScribe builds another radial basis from the same arguments.
    """
    arguments = {k: v for k, v in data.items() if k != "basis"}
    compression = dict(arguments["compression"])
    weights = compression.get("species_weighting")
    if weights is not None:
        numbers = {chemical_symbols.index(k) if k in chemical_symbols else int(k): v for k, v in weights.items()}
        compression["species_weighting"] = {chemical_symbols[z]: v for z, v in numbers.items()}
    arguments["compression"] = compression
    soap = SOAP(**arguments)
    for name in ("alphas", "betas"):
        stored, built = np.asarray(data["basis"][name]), getattr(soap, f"_{name}")
        if stored.shape != built.shape or np.abs(stored - built).max() > 1e-8 * np.abs(stored).max():
            raise DescriptorError(
                "the installed DScribe builds a radial basis that differs from the one this model was fitted with. "
                "Install the DScribe version named in the model's provenance (`kernpot info`), or fit again."
            )
    return soap

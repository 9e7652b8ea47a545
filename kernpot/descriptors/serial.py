"""DScribe SOAPs as plain data, for the model file."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.data import chemical_symbols
from dscribe.descriptors import SOAP

from kernpot.errors import DescriptorError


def soap_arguments(soap: SOAP) -> dict[str, Any]:
    """Constructor arguments of a SOAP as plain data; ``sparse`` and ``dtype`` only concern DScribe's own output."""
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
    }


def soap_to_dict(soap: SOAP) -> dict[str, Any]:
    """Constructor arguments of a SOAP, and the radial basis they led to."""
    return soap_arguments(soap) | {"basis": {"alphas": soap._alphas.tolist(), "betas": soap._betas.tolist()}}


def soap_from_dict(data: dict[str, Any]) -> SOAP:
    """The SOAP that :func:`soap_to_dict` described, with the stored radial basis.

    DScribe orthonormalises nearly parallel functions (condition number 1e17 at ``n_max=10``), so the same arguments
    lead to bases that differ in the eighth digit between processors: too much for a model whose features they are.

    Raises
    ------
    DescriptorError
        When the stored basis does not belong to the arguments.
    """
    arguments = {k: v for k, v in data.items() if k != "basis"}
    compression = dict(arguments["compression"])
    weights = compression.get("species_weighting")
    if weights is not None:
        compression["species_weighting"] = {
            k if k in chemical_symbols else chemical_symbols[int(k)]: v for k, v in weights.items()
        }
    arguments["compression"] = compression
    soap = SOAP(**arguments)
    for name in ("alphas", "betas"):
        stored, built = np.asarray(data["basis"][name], dtype=np.float64), getattr(soap, f"_{name}")
        if stored.shape != built.shape:
            raise DescriptorError(
                f"the stored radial basis has shape {stored.shape}, the installed DScribe makes {built.shape}. "
                "Install the DScribe version named in the model's provenance (`kernpot info`), or fit again."
            )
        setattr(soap, f"_{name}", stored)
    return soap

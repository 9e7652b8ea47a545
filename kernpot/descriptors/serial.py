"""DScribe descriptors as plain data, for the model file."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.data import chemical_symbols
from dscribe.descriptors import ACSF, SOAP

from kernpot.descriptors.dscribe_settings import acsf_numbers, set_radial_basis, soap_settings
from kernpot.descriptors.limits import require_cutoff, require_elements, require_soap
from kernpot.errors import DescriptorError


def soap_arguments(soap: SOAP) -> dict[str, Any]:
    """Constructor arguments of a SOAP as plain data; ``sparse`` and ``dtype`` only concern DScribe's own output."""
    settings, compression = soap_settings(soap), dict(soap.compression)
    weights = compression.get("species_weighting")
    if weights is not None:
        compression["species_weighting"] = {str(k): float(v) for k, v in weights.items()}
    return {
        "species": [chemical_symbols[z] for z in settings.numbers],
        "r_cut": settings.r_cut,
        "n_max": settings.n_max,
        "l_max": settings.l_max,
        "sigma": settings.sigma,
        "rbf": settings.rbf,
        "weighting": {k: (v if isinstance(v, str) else float(v)) for k, v in settings.weighting.items()} or None,
        "average": soap.average,
        "compression": compression,
        "periodic": bool(soap.periodic),
    }


def soap_to_dict(soap: SOAP) -> dict[str, Any]:
    """Constructor arguments of a SOAP, and the radial basis they led to."""
    settings = soap_settings(soap)
    return soap_arguments(soap) | {"basis": {"alphas": settings.alphas.tolist(), "betas": settings.betas.tolist()}}


def soap_from_dict(data: dict[str, Any]) -> SOAP:
    """The SOAP that :func:`soap_to_dict` described, with the stored radial basis.

    DScribe orthonormalises nearly parallel functions (condition number 1e17 at ``n_max=10``), so the same arguments
    lead to bases that differ in the eighth digit between processors: too much for a model whose features they are.

    Raises
    ------
    DescriptorError
        When the stored basis does not belong to the arguments, or these are out of range.
    """
    arguments = {k: v for k, v in data.items() if k not in ("basis", "kind")}
    compression = dict(arguments["compression"])
    weights = compression.get("species_weighting")
    if weights is not None:
        compression["species_weighting"] = {
            k if k in chemical_symbols else chemical_symbols[int(k)]: v for k, v in weights.items()
        }
    arguments["compression"] = compression
    r_cut, n_max, l_max, sigma = (arguments[name] for name in ("r_cut", "n_max", "l_max", "sigma"))
    require_soap(arguments["species"], r_cut, n_max, l_max, sigma, compression.get("mode", "off"))
    soap = SOAP(**arguments)
    built_of = soap_settings(soap)
    basis = {name: np.asarray(data["basis"][name], dtype=np.float64) for name in ("alphas", "betas")}
    for name, stored in basis.items():
        built = getattr(built_of, name)
        if stored.shape != built.shape:
            raise DescriptorError(
                f"the stored radial basis has shape {stored.shape}, the installed DScribe makes {built.shape}. "
                "Install the DScribe version named in the model's provenance (`kernpot info`), or fit again."
            )
    set_radial_basis(soap, **basis)
    return soap


def acsf_arguments(acsf: ACSF) -> dict[str, Any]:
    """Constructor arguments of an ACSF as plain data; ``sparse`` and ``dtype`` only concern DScribe's own output."""
    return {
        "species": [chemical_symbols[z] for z in acsf_numbers(acsf)],
        "r_cut": float(acsf.r_cut),
        "g2_params": [[float(x) for x in row] for row in acsf.g2_params],
        "g3_params": [float(x) for x in acsf.g3_params],
        "g4_params": [[float(x) for x in row] for row in acsf.g4_params],
        "g5_params": [[float(x) for x in row] for row in acsf.g5_params],
        "periodic": bool(acsf.periodic),
    }


def acsf_to_dict(acsf: ACSF) -> dict[str, Any]:
    """Constructor arguments of an ACSF, marked as such."""
    return {"kind": "acsf"} | acsf_arguments(acsf)


def acsf_from_dict(data: dict[str, Any]) -> ACSF:
    """The ACSF that :func:`acsf_to_dict` described."""
    require_elements(data["species"])
    require_cutoff(data["r_cut"])
    # DScribe wants a matrix or nothing: an empty list is neither.
    return ACSF(**{k: None if v == [] else v for k, v in data.items() if k != "kind"})

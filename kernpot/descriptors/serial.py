"""DScribe descriptors as plain data, for the model file."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.data import chemical_symbols
from dscribe.descriptors import ACSF, SOAP

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


def acsf_arguments(acsf: ACSF) -> dict[str, Any]:
    """Constructor arguments of an ACSF as plain data; ``sparse`` and ``dtype`` only concern DScribe's own output."""
    return {
        "species": [chemical_symbols[int(z)] for z in acsf._atomic_numbers],
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
    # DScribe wants a matrix or nothing: an empty list is neither.
    return ACSF(**{k: None if v == [] else v for k, v in data.items() if k != "kind"})


def descriptor_to_dict(descriptor: SOAP | ACSF) -> dict[str, Any]:
    """A SOAP or an ACSF as plain data.

    Raises
    ------
    DescriptorError
        It is neither.
    """
    if isinstance(descriptor, ACSF):
        return acsf_to_dict(descriptor)
    if isinstance(descriptor, SOAP):
        return soap_to_dict(descriptor)
    raise DescriptorError(f"expected a dscribe.descriptors.SOAP or ACSF, got {type(descriptor).__name__}.")


def descriptor_from_dict(data: dict[str, Any]) -> SOAP | ACSF:
    """The descriptor that :func:`descriptor_to_dict` described; without a ``kind`` it is a SOAP.

    Raises
    ------
    DescriptorError
        A kind that this version does not know.
    """
    kind = data.get("kind", "soap")
    if kind == "acsf":
        return acsf_from_dict(data)
    if kind == "soap":
        return soap_from_dict({k: v for k, v in data.items() if k != "kind"})
    raise DescriptorError(f"expected a descriptor of kind 'soap' or 'acsf', got {kind!r}. Update kernpot to read it.")

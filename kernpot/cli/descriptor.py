"""The descriptor that a command's options or a file's keys ask for."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms
from dscribe.descriptors import SOAP

from kernpot.descriptors import default_descriptor
from kernpot.descriptors.serial import soap_arguments
from kernpot.errors import DescriptorError


def descriptor_for(
    structures: Sequence[Atoms], cutoff: float | None, n_max: int | None, l_max: int | None
) -> SOAP | None:
    """The default descriptor of the elements present, with what the user wants different."""
    if cutoff is None and n_max is None and l_max is None:
        return None
    arguments = soap_arguments(default_descriptor({int(z) for atoms in structures for z in atoms.numbers}))
    arguments["n_max"] = arguments["n_max"] if n_max is None else n_max
    arguments["l_max"] = arguments["l_max"] if l_max is None else l_max
    if cutoff is not None:
        arguments["r_cut"] = cutoff
        arguments["weighting"] = {**arguments["weighting"], "r0": cutoff}
    try:
        return SOAP(**arguments)
    except ValueError as error:
        raise DescriptorError(f"DScribe refuses the descriptor: {error}; change cutoff, n_max or l_max") from None

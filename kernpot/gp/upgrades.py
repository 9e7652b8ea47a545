"""Headers of earlier model files brought up to date, one function for each step.

All of these files say ``schema_version`` 1: what they hold was added, not changed. Which step one is at tells from what
it lacks, so that each function leaves a header alone that has what it adds. Model files of every step are kept in
``tests/stored/schemas``.
"""

from __future__ import annotations

import math
from typing import Any

from kernpot.files.parts import reading

Header = dict[str, Any]


def upgraded(header: Header) -> Header:
    """A header as it is written today."""
    for step in (with_training, with_tails, with_parameters_as_given, with_draws):
        header = step(header)
    return header


def with_training(header: Header) -> Header:
    """Training structures may be there, and inducing environments may lie in few directions (2026-11-21)."""
    with reading("blocks"):
        blocks = [{"in_basis": False} | block for block in header["blocks"]]
    with reading("parameters"):
        parameters = {"n_components": None} | header["parameters"]
    return header | {"training": header.get("training"), "blocks": blocks, "parameters": parameters}


def with_tails(header: Header) -> Header:
    """The misfit has tails, those of a normal distribution before; of files of that day exponents as well."""
    plain = {"degrees_of_freedom": None, "reach": 0.0, "exponent": 1.0, "reference": 0.0}
    with reading("misfit"):
        misfit = {kind: plain | given for kind, given in header["misfit"].items()}
    return header | {"misfit": misfit}


def with_parameters_as_given(header: Header) -> Header:
    """Kernels keep what their amplitudes are a function of, and a clone is fitted with what the user gave."""
    with reading("kernels"):
        kernels = [
            kernel
            if "raw_amplitude" in kernel
            else kernel | {"raw_amplitude": [math.log(a) for a in kernel["amplitude"]]}
            for kernel in header["kernels"]
        ]
    return header | {"kernels": kernels, "as_given": header.get("as_given")}


def with_draws(header: Header) -> Header:
    """Error bars may come from draws (2026-11-30)."""
    with reading("parameters"):
        parameters = {"n_draws": 0, "error_bars": "exact"} | header["parameters"]
    return header | {"parameters": parameters}

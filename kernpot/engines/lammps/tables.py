"""A potential as tables of numbers, for the pair style that LAMMPS is given as a plugin.

A file is a line of text for every array, ``name kind n1 n2 ...``, with its numbers in little-endian order after it, and
a last line ``end`` with how many arrays there were. It holds the mean as functions of features, the deviations of the
shared draws, and what makes standard deviations of these; nothing in it is executed. ``plugin/potential.h`` reads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from kernpot.calibration.misfit import Misfit
from kernpot.calibration.spread import Spread, WithSharedDraws
from kernpot.descriptors.compiled.table import RadialTable
from kernpot.descriptors.features import Features
from kernpot.descriptors.soap import SOAPFeatures
from kernpot.errors import DescriptorError, KernpotError
from kernpot.files.writing import replace_file
from kernpot.kernels.forms import LinearForms, LocalEnergies, PowerSums, QuadraticForms, Sum
from kernpot.potential import Surface
from kernpot.surfaces.potentials import Term
from kernpot.surfaces.variances import Collapsible

_HEAD = b"kernpot tables 1\n"
_KINDS = {"float64": "f8", "float32": "f4", "int64": "i8"}
_ELSEWHERE = "run it with `kernpot lammps` and no plugin, which takes any potential"

Tables = dict[str, NDArray[np.generic]]


def tables_of(potential: Surface) -> Tables:
    """Named arrays of a fitted potential.

    Raises
    ------
    DescriptorError
        A descriptor is not SOAP, or weighted in a way that no table of radial functions holds.
    KernpotError
        The potential is no sum of polynomials of features, such as networks and sums with a baseline.
    """
    if not isinstance(potential, Collapsible):
        raise KernpotError(
            f"expected a SparseGPPotential, got {type(potential).__name__}, which is not written as tables: "
            f"{_ELSEWHERE}."
        )
    mean, elements = potential.collapsed_mean(), list(potential.elements_)
    found: Tables = {
        "elements": np.array(elements, dtype=np.int64),
        "isolated": np.array([mean.isolated[z] for z in elements], dtype=np.float64),
        "cutoff": np.array(potential.cutoff, dtype=np.float64),
    }
    for k, features in enumerate(mean.descriptors):
        found |= _soap(f"soap{k}", features, elements)
    n_functions = 0
    for term in mean.terms:
        for part in _parts(term.energies):
            found |= _function(f"function{n_functions}", term, part, elements)
            n_functions += 1
    spread = potential.shared_spread() if isinstance(potential, WithSharedDraws) else None
    drawn: Tables = {} if spread is None else _drawn(spread, elements)
    n_draws, n_forms = (0, 0) if spread is None else (len(spread.parts.deviating), len(spread.parts.deviating.terms))
    sizes = [len(mean.descriptors), n_functions, n_draws, n_forms]
    return found | drawn | {"sizes": np.array(sizes, dtype=np.int64)}


def write_tables(potential: Surface, path: str | os.PathLike[str]) -> None:
    """Write :func:`tables_of` to a file, whole or not at all.

    Raises
    ------
    DescriptorError, KernpotError
        As of :func:`tables_of`.
    OSError
        The file cannot be written.
    """
    replace_file(Path(path), b"".join(_encoded(tables_of(potential))))


def _encoded(tables: Tables) -> Iterator[bytes]:
    yield _HEAD
    for name, array in tables.items():
        kind = _KINDS[array.dtype.name]
        yield f"{' '.join([name, kind, *map(str, array.shape)])}\n".encode()
        yield np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes() + b"\n"
    yield f"end {len(tables)}\n".encode()


def _soap(name: str, features: Features, elements: Sequence[int]) -> Tables:
    if not isinstance(features, SOAPFeatures):
        raise DescriptorError(
            f"expected a potential on SOAP, got one on {type(features.descriptor).__name__}: {_ELSEWHERE}."
        )
    table = RadialTable.of(features.radial, features.cutoff)
    if table is None:
        raise DescriptorError(
            "the weighting of this SOAP is not smooth enough for tables of radial functions: take one with 'poly', or "
            f"{_ELSEWHERE}."
        )
    spectrum = features.spectrum
    q1, q2, degree = (x.numpy() for x in (spectrum.q1, spectrum.q2, spectrum.degree))
    shape = [spectrum.n_max, spectrum.l_max, spectrum.n_slots, int(spectrum.mixed)]
    return {
        f"{name}.shape": np.array(shape, dtype=np.int64),
        f"{name}.cutoff": np.array(features.cutoff, dtype=np.float64),
        f"{name}.inverse_step": np.array(table.inverse_step, dtype=np.float64),
        f"{name}.functions": table.functions,
        f"{name}.weighting": table.weighting,
        f"{name}.own": table.own,
        f"{name}.slot": features.slot[elements].numpy(),
        f"{name}.weight": features.weight[elements].numpy(),
        f"{name}.take": (degree * spectrum.n_q + q1) * spectrum.n_partners + q2,
        f"{name}.factor": spectrum.factor.numpy(),
    }


def _parts(energies: LocalEnergies) -> list[LocalEnergies]:
    return [*_parts(energies.first), *_parts(energies.second)] if isinstance(energies, Sum) else [energies]


def _function(name: str, term: Term, energies: LocalEnergies, elements: Sequence[int]) -> Tables:
    """A polynomial of the features of one element's atoms."""
    found: Tables = {}
    zeta, basis = 0, None
    if isinstance(energies, LinearForms):
        found[f"{name}.vector"] = energies.vectors[0].double().numpy()
    elif isinstance(energies, QuadraticForms):
        basis = energies.basis
        found[f"{name}.form"] = energies.forms[0].double().numpy()
    elif isinstance(energies, PowerSums):
        zeta, basis = int(energies.zeta), energies.basis
        found[f"{name}.environments"] = energies.environments.double().numpy()
        found[f"{name}.weights"] = energies.weights[0].double().numpy()
    else:
        raise KernpotError(
            f"the energies of {chemical_symbols[term.element]} are no polynomials of features "
            f"({type(energies).__name__}), which alone are written as tables: {_ELSEWHERE}."
        )
    if basis is not None:
        found[f"{name}.basis"] = basis.double().numpy()
    about = [term.descriptor, elements.index(term.element), zeta]
    return found | {f"{name}.about": np.array(about, dtype=np.int64)}


def _drawn(spread: Spread, elements: Sequence[int]) -> Tables:
    """Deviations of shared draws, and what error bars are made of beside them."""
    deviating, misfit, growth, unseen = spread.parts
    found = _soap("drawn_soap", deviating.descriptors[0], elements)
    for k, term in enumerate(deviating.terms):
        forms = term.energies
        if not isinstance(forms, QuadraticForms):
            raise KernpotError(f"shared draws are quadratic forms, got {type(forms).__name__}: fit again.")
        name = f"forms{k}"
        found[f"{name}.about"] = np.array([0, elements.index(term.element), 2], dtype=np.int64)
        found[f"{name}.forms"] = np.stack([form.numpy() for form in forms.in_all_directions().forms])
    found["misfit_forces"], found["misfit_energy"] = (_misfit(misfit[kind]) for kind in ("forces", "energy"))
    found["force_factors"] = misfit["forces"].of_elements(np.array(elements)).numpy()
    if growth is not None:
        found["growth"] = np.array([growth.exponent, growth.reference], dtype=np.float64)
    if unseen is not None:
        found["closest"] = unseen.limits(np.array(elements))
    return found


def _misfit(misfit: Misfit) -> NDArray[np.float64]:
    return np.array([misfit.constant, misfit.factor, misfit.exponent, misfit.reference], dtype=np.float64)

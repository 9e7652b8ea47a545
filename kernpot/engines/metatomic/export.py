"""From a fitted potential to the file."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from metatomic.torch import AtomisticModel, ModelCapabilities, ModelMetadata, ModelOutput

import kernpot
from kernpot.calibration.spread import WithSharedDraws
from kernpot.descriptors.features import Features
from kernpot.descriptors.soap import SOAPFeatures
from kernpot.engines.metatomic.model import Exported
from kernpot.engines.metatomic.soap import Soap
from kernpot.engines.metatomic.spread import CommitteeSpread, KernelSpread
from kernpot.errors import DescriptorError, KernpotError
from kernpot.files.writing import destination
from kernpot.kernels.forms import QuadraticForms
from kernpot.surfaces.potentials import Potentials, Term
from kernpot.surfaces.variances import Exportable, KernelVariance, TermVariance

Precision = Literal["float64", "float32"]

_OF_DRAWS = (
    "energy: posterior mean. energy_ensemble: shared draws. energy_uncertainty: root mean square of what all shared "
    "draws deviate from the mean, of the energy of a system or of an atom, at least 1 meV."
)
_DESCRIPTION = (
    "energy: posterior mean. energy_ensemble: calibrated draws from the posterior. energy_uncertainty: standard "
    "deviation over all such draws, in closed form, of the energy of a system or of an atom, at least 1 meV."
)


def exported(
    potential: Exportable,
    n_draws: int = 16,
    random_state: int | None = 0,
    name: str = "kernpot",
    dtype: Precision = "float64",
) -> AtomisticModel:
    """A fitted potential as metatomic's model, in TorchScript.

    Its outputs are ``energy``, ``energy_ensemble`` (the potentials of ``sample_potentials(n_draws, random_state)``) and
    ``energy_uncertainty`` (``energy_std``), each of systems or of atoms; forces, stress and those of draws come by
    autograd. Of a potential with ``error_bars="draws"`` both are of its shared draws, at about twice the cost of the
    mean; their scatter about the mean is the standard deviation.

    Parameters
    ----------
    potential : Exportable
        Fitted, on SOAP: a :class:`kernpot.SparseGPPotential`, a :class:`kernpot.NNPEnsemble`, or what offers as much.
    n_draws : int, default=16
        Without any there is no ``energy_ensemble``; shared draws are all in it, or none.
    random_state : int or None
        Seed of the draws.
    name : str
        For the metadata.
    dtype : {"float64", "float32"}
        Of positions and answers. In single precision radial functions, whose sums cancel, are still in double, and
        error bars must be of shared draws, or of networks.

    Raises
    ------
    DescriptorError
        The descriptor is not SOAP.
    KernpotError
        `n_draws` is negative, `dtype` is another or too coarse for the error bars, or the potential is of another kind.
    sklearn.exceptions.NotFittedError
    """
    if isinstance(n_draws, bool) or not isinstance(n_draws, int) or n_draws < 0:
        raise KernpotError(f"n_draws must be the number of draws in energy_ensemble, 0 for none, got {n_draws!r}.")
    if dtype not in get_args(Precision):
        raise KernpotError(f"dtype must be one of {', '.join(map(repr, get_args(Precision)))}, got {dtype!r}.")
    if not isinstance(potential, Exportable):
        raise KernpotError(
            f"expected a potential that tells the terms of its energy, such as SparseGPPotential or NNPEnsemble, got "
            f"{type(potential).__name__}: drive the engine through ASE, LAMMPS or i-PI with kernpot installed."
        )
    of_draws = getattr(potential, "error_bars", "exact") == "draws" and isinstance(potential, WithSharedDraws)
    parts = _by_shared_draws(potential, n_draws > 0) if of_draws else _by_posterior(potential, n_draws, random_state)
    module = Exported(*parts).eval()
    if dtype == "float32":
        if isinstance(module.spread, KernelSpread):
            raise KernpotError(
                "in single precision standard deviations of the whole posterior are lost to rounding: "
                "set_params(error_bars='draws') first, or write dtype='float64'."
            )
        _to_single(module)
    surface: Any = potential
    names = ["energy", "energy_uncertainty", *(["energy_ensemble"] if n_draws else [])]
    capabilities = ModelCapabilities(
        outputs={key: ModelOutput(unit="eV", sample_kind="atom") for key in names},
        atomic_types=list(surface.elements_),
        interaction_range=float(surface.cutoff),
        length_unit="angstrom",
        supported_devices=["cpu", "cuda"],
        dtype=dtype,
    )
    description = _OF_DRAWS if of_draws else _DESCRIPTION
    metadata = ModelMetadata(name=name, description=f"{description} Written by kernpot {kernpot.__version__}.")
    return AtomisticModel(module, metadata, capabilities)


_Parts = tuple[list[Soap], Potentials, list[Term], torch.nn.Module, float | None]


def _by_posterior(potential: Exportable, n_draws: int, random_state: int | None) -> _Parts:
    """Draws of the whole posterior, and standard deviations over all of them."""
    draws = potential.sample_potentials(max(n_draws, 1), random_state=random_state)
    mean, variance = draws.mean_potential.potentials, potential.energy_variance()
    spread = KernelSpread(variance) if isinstance(variance, KernelVariance) else CommitteeSpread(variance)
    return _soaps(mean.descriptors), mean, draws.potentials.terms if n_draws else [], spread, None


def _by_shared_draws(potential: Any, with_ensemble: bool) -> _Parts:
    """The mean, and what shared draws deviate from it on coarse features of their own."""
    mean: Potentials = potential.collapsed_mean()
    spread = potential.shared_spread()
    if spread is None:
        raise KernpotError("the model has no shared draws: set_params(error_bars='exact') first.")
    deviating = spread.parts.deviating
    first = len(mean.descriptors)
    terms = [
        t._replace(descriptor=first + t.descriptor, energies=QuadraticForms([f.double() for f in t.energies.forms]))
        for t in deviating.terms
    ]
    soaps = _soaps([*mean.descriptors, *deviating.descriptors])
    # Deviations are those of draws over the root of their number.
    root = float(len(deviating)) ** 0.5
    return soaps, mean, terms if with_ensemble else [], CommitteeSpread(TermVariance(terms, 1.0)), root


def _to_single(module: torch.nn.Module) -> None:
    """Numbers in single precision, but those of the sums over primitives, which cancel up to seven digits."""
    for owner in module.modules():
        kept = ("exponent", "mix") if isinstance(owner, Soap) else ()
        for name, values in [*owner.named_buffers(recurse=False), *owner.named_parameters(recurse=False)]:
            if values.is_floating_point() and name not in kept:
                values.data = values.data.float()


def _soaps(descriptors: Sequence[Features]) -> list[Soap]:
    found = []
    for features in descriptors:
        if not isinstance(features, SOAPFeatures):
            raise DescriptorError(
                f"expected a potential on SOAP, got one on {type(features.descriptor).__name__}: only SOAP is written "
                "for TorchScript. Fit on SOAP, or drive the engine through ASE, LAMMPS or i-PI with kernpot installed."
            )
        found.append(Soap(features))
    return found


def write(
    potential: Exportable,
    path: str | os.PathLike[str],
    n_draws: int = 16,
    random_state: int | None = 0,
    name: str = "kernpot",
    dtype: Precision = "float64",
) -> None:
    """Write :func:`exported` to a file, whole or not at all.

    Parameters
    ----------
    path : path
        Ends in ``.pt``, as engines expect.

    Raises
    ------
    KernpotError
        `path` ends otherwise.
    OSError
        The file cannot be written.
    """
    target = destination(Path(path))
    if target.suffix != ".pt":
        raise KernpotError(f"metatomic's files end in .pt, got {target.name!r}.")
    if not target.parent.is_dir():
        raise KernpotError(f"the folder {str(target.parent)!r} does not exist: make it, or name another.")
    model = exported(potential, n_draws, random_state, name, dtype)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        model.save(part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)

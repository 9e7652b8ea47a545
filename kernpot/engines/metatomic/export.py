"""From a fitted potential to the file."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import torch
from metatomic.torch import AtomisticModel, ModelCapabilities, ModelMetadata, ModelOutput

import kernpot
from kernpot.descriptors.soap import SOAPFeatures
from kernpot.engines.metatomic.model import Exported
from kernpot.engines.metatomic.soap import Soap
from kernpot.engines.metatomic.spread import CommitteeSpread, KernelSpread
from kernpot.errors import DescriptorError, KernpotError
from kernpot.files.writing import destination
from kernpot.surfaces.variances import Exportable, KernelVariance

_DESCRIPTION = (
    "energy: posterior mean. energy_ensemble: calibrated draws from the posterior. energy_uncertainty: standard "
    "deviation over all such draws, in closed form, of the energy of a system or of an atom, at least 1 meV."
)


def exported(
    potential: Exportable, n_draws: int = 16, random_state: int | None = 0, name: str = "kernpot"
) -> AtomisticModel:
    """A fitted potential as metatomic's model, in TorchScript, double precision, on the CPU.

    Its outputs are ``energy``, ``energy_ensemble`` (the potentials of ``sample_potentials(n_draws, random_state)``) and
    ``energy_uncertainty`` (``energy_std``), each of systems or of atoms; forces, stress and those of draws come by
    autograd.

    Parameters
    ----------
    potential : Exportable
        Fitted, on SOAP: a :class:`kernpot.SparseGPPotential`, a :class:`kernpot.NNPEnsemble`, or what offers as much.
    n_draws : int, default=16
        Without any there is no ``energy_ensemble``.
    random_state : int or None
        Seed of the draws.
    name : str
        For the metadata.

    Raises
    ------
    DescriptorError
        The descriptor is not SOAP.
    KernpotError
        `n_draws` is negative, or the potential is of another kind, or has error bars of draws.
    sklearn.exceptions.NotFittedError
    """
    if isinstance(n_draws, bool) or not isinstance(n_draws, int) or n_draws < 0:
        raise KernpotError(f"n_draws must be the number of draws in energy_ensemble, 0 for none, got {n_draws!r}.")
    if not isinstance(potential, Exportable):
        raise KernpotError(
            f"expected a potential that tells the terms of its energy, such as SparseGPPotential or NNPEnsemble, got "
            f"{type(potential).__name__}: drive the engine through ASE, LAMMPS or i-PI with kernpot installed."
        )
    if getattr(potential, "error_bars", "exact") == "draws":
        raise KernpotError(
            "a file for metatomic holds error bars and draws of the whole posterior: set_params(error_bars='exact') "
            "first."
        )
    draws = potential.sample_potentials(max(n_draws, 1), random_state=random_state)
    mean = draws.mean_potential.potentials
    soaps = []
    for features in mean.descriptors:
        if not isinstance(features, SOAPFeatures):
            raise DescriptorError(
                f"expected a potential on SOAP, got one on {type(features.descriptor).__name__}: only SOAP is written "
                "for TorchScript. Fit on SOAP, or drive the engine through ASE, LAMMPS or i-PI with kernpot installed."
            )
        soaps.append(Soap(features))
    spread: torch.nn.Module
    variance = potential.energy_variance()
    spread = KernelSpread(variance) if isinstance(variance, KernelVariance) else CommitteeSpread(variance)
    module = Exported(soaps, mean, draws.potentials if n_draws else None, spread).eval()
    names = ["energy", "energy_uncertainty", *(["energy_ensemble"] if n_draws else [])]
    capabilities = ModelCapabilities(
        outputs={key: ModelOutput(unit="eV", sample_kind="atom") for key in names},
        atomic_types=list(draws.mean_potential.elements_),
        interaction_range=float(draws.mean_potential.cutoff),
        length_unit="angstrom",
        supported_devices=["cpu"],
        dtype="float64",
    )
    metadata = ModelMetadata(name=name, description=f"{_DESCRIPTION} Written by kernpot {kernpot.__version__}.")
    return AtomisticModel(module, metadata, capabilities)


def write(
    potential: Exportable,
    path: str | os.PathLike[str],
    n_draws: int = 16,
    random_state: int | None = 0,
    name: str = "kernpot",
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
    model = exported(potential, n_draws, random_state, name)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        model.save(part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)

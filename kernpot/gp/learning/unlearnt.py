"""What labels have told a fit nothing of: stress that none has, and environments like none that it represents."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.calibration.misfit import Misfit
from kernpot.errors import KernpotWarning
from kernpot.functionals.rows import stress_rows
from kernpot.functionals.state import Structure
from kernpot.gp.fitted import FittedGP
from kernpot.regression.factor import LabelFactor
from kernpot.structures.kinds import KINDS
from kernpot.structures.noise import kind_of

# Structures on which stresses are compared, at most, and their atoms.
_STRUCTURES, _ATOMS = 10, 2000
# Volumes per atom that differ by less (relative) are one.
_ONE_VOLUME = 0.005


def with_signal(
    misfit: Mapping[str, Misfit], factors: Mapping[str, LabelFactor], amplitudes: Tensor
) -> dict[str, Misfit]:
    """Misfit that knows how large labels of its kind are, and how large their prior says, in the mean.

    Parameters
    ----------
    misfit : mapping of str to Misfit
        Per kind of label.
    factors : mapping of str to LabelFactor
        All labels learnt, per noise group.
    amplitudes : Tensor of shape (n_blocks,)
        eV.
    """
    out = dict(misfit)
    for kind in misfit:
        own = [factor for group, factor in factors.items() if kind_of(group) == kind]
        n = sum(factor.n_rows for factor in own)
        if n:
            labels = sum(factor.missed(torch.zeros(factor.n_inducing, dtype=torch.float64)) for factor in own)
            prior = sum(float(factor.prior @ amplitudes.square()) for factor in own)
            out[kind] = replace(misfit[kind], signal=labels / n, prior=prior / n)
    return out


def with_unseen_stress(fitted: FittedGP) -> FittedGP:
    """With a misfit of stress, where no structure was labelled with it, by which two models of the labels differ.

    Energies and forces at few volumes leave open how energies change with volume; a model makes something of it, and
    its posterior, conditional on functions that its features can make, is as sure as of all else. The shared draws
    rest on another Gaussian process of the same labels, on other features: where stress is undetermined, the two
    disagree. Where features are the same, or there are no draws, it is what the prior leaves open. On top comes the
    factor of the forces, of which stress is made.
    """
    periodic = [s.atoms for s in fitted.training or () if all(s.atoms.pbc)]
    if "stress" in fitted.kinds or not periodic or any(f.knows != "stress" for f in fitted.features):
        return fitted
    constant, why = KINDS["stress"].unseen, ""
    if fitted.shared is not None and _sees_less(fitted.shared.source, fitted):
        found = _disagreement(fitted, fitted.shared.source, periodic)
        if found > constant:
            constant, why = found, ", by which another model of the same labels differs from this one"
    elif fitted.misfit["forces"].signal > 0:
        # No other model to ask: what the prior leaves open.
        found = _prior_wide(fitted, periodic)
        if found > constant:
            constant, why = found, ", which is all that the prior leaves open"
    one = (
        ""
        if _several_volumes(periodic)
        else (
            " All periodic structures have one volume per atom, so that nothing tells how energies change with volume: "
            "pressures, constant-pressure dynamics, equations of state and elastic constants are not to be trusted."
        )
    )
    warnings.warn(
        f"no structure has stress labels, so their misfit is unknown; the std of predicted stress takes {constant:.2g} "
        f"eV/A^3 for it{why}.{one} Give structures stress labels (ASE's Voigt stress, or a virial).",
        KernpotWarning,
        stacklevel=4,  # whoever called the estimator's fit
    )
    told = _with_stress(fitted, constant)
    if told.shared is None:
        return told
    return replace(told, shared=replace(told.shared, source=_with_stress(told.shared.source, constant)))


def _with_stress(fitted: FittedGP, constant: float) -> FittedGP:
    """With a misfit of stress of a constant, and of the factor of the forces where there are any."""
    forces = fitted.misfit["forces"] if "forces" in fitted.kinds else Misfit(0.0)
    stress = Misfit(constant, forces.factor, forces.degrees_of_freedom)
    return replace(fitted, misfit=fitted.misfit | {"stress": stress})


def _sees_less(source: FittedGP, fitted: FittedGP) -> bool:
    """Whether the model behind the draws rests on other features: on the same ones it is no second opinion."""
    return source.features[0].n_features < max(fitted.features, key=lambda f: f.cutoff).n_features


def _prior_wide(fitted: FittedGP, periodic: list[Atoms]) -> float:
    """Rms prior std of normal stress, eV/A^3, times that by which labels of forces exceed their prior."""
    structures = (Structure(fitted.features, atoms) for atoms in _some(periodic))
    squares = fitted.amplitudes.square()
    priors = [float((stress_rows(s, fitted.whitening.blocks)[1] @ squares)[:3].mean()) for s in structures]
    forces = fitted.misfit["forces"]
    return float(np.sqrt(np.mean(priors) * max(1.0, forces.signal / forces.prior)))


def _some(periodic: list[Atoms]) -> list[Atoms]:
    """A few structures, of a bounded number of atoms; one at least."""
    chosen: list[Atoms] = []
    left = _ATOMS
    for atoms in periodic[:: max(1, len(periodic) // _STRUCTURES)]:
        left -= len(atoms)
        if not chosen or left >= 0:
            chosen.append(atoms)
    return chosen


def _disagreement(first: FittedGP, second: FittedGP, periodic: list[Atoms]) -> float:
    """Rms difference of stress components on some structures, eV/A^3."""
    squares: list[float] = []
    for atoms in _some(periodic):
        one, other = (fitted.mean(atoms).stress for fitted in (first, second))
        if one is not None and other is not None:
            squares.append(float(np.mean((one - other)[:3] ** 2)))
    return float(np.sqrt(np.mean(squares))) if squares else 0.0


def _several_volumes(periodic: list[Atoms]) -> bool:
    per_atom = np.array([atoms.get_volume() / len(atoms) for atoms in periodic])
    return bool(per_atom.max() > (1 + _ONE_VOLUME) * per_atom.min())

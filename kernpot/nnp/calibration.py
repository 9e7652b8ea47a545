"""Misfit of labels from errors on structures that no member has trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kernpot.calibration.misfit import Misfit, misfit_variance
from kernpot.calibration.residuals import LeaveOneOut, reach_of, with_all_mixed
from kernpot.calibration.spread import Spread
from kernpot.prediction import LeftOut
from kernpot.structures.kinds import KINDS, LABEL_KINDS
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import kind_of


def held_out_misfit(
    spread: Spread, held_out: Sequence[LabelledStructure], levels: Mapping[str, float]
) -> dict[str, Misfit]:
    """Misfit of every kind of label by :func:`misfit_from` the errors on structures held out."""
    return misfit_from(held_out_errors(spread, held_out), levels)


def misfit_from(found: LeaveOneOut, levels: Mapping[str, float]) -> dict[str, Misfit]:
    """Misfit of every kind of label, as the Gaussian process finds it from structures left out.

    The errors here are those of the potential itself, on structures that none of its members has seen. From fewer than
    five structures a kind of label takes the factor of the forces and its rms error as a constant; without any, the
    noise level; a kind that was never seen a stated guess.

    Parameters
    ----------
    found : LeaveOneOut
        Of :func:`held_out_errors`.
    levels : mapping of str to float
        Noise levels by kind of label, eV/atom, eV/A, eV/A^3.
    """
    misfit = {kind: Misfit(levels.get(kind, KINDS[kind].unseen)) for kind in LABEL_KINDS}
    told = found.misfit()
    if "forces" in found.residuals and "forces" not in told:
        told["forces"] = found.misfit_of("forces")
    factor = told["forces"].factor if "forces" in told else 0.0
    for kind, residuals in found.residuals.items():
        if kind not in told:
            error = float(np.sqrt(np.mean(np.concatenate(residuals) ** 2)))
            reach = found.reach if kind == "energy" else 0.0
            told[kind] = Misfit(max(error, KINDS[kind].floor), factor, reach=reach)
    return misfit | told


def levels_of_kinds(levels: Mapping[str, float]) -> dict[str, float]:
    """Noise level of every kind of label: its own, or the rms of those of its groups."""
    found: dict[str, float] = {}
    for kind in LABEL_KINDS:
        of_groups = [level for group, level in levels.items() if kind_of(group) == kind]
        if of_groups:
            found[kind] = levels.get(kind, float(np.sqrt(np.mean(np.square(of_groups)))))
    return found


def shares_missed(found: LeaveOneOut, held_out: Sequence[LabelledStructure]) -> dict[str, float]:
    """Rms error on structures held out over the spread of their labels, by kind; of energies that per atom."""
    shares = {}
    for kind, residuals in found.residuals.items():
        size = [len(s.atoms) if kind == "energy" else 1 for s in held_out if s.label(kind) is not None]
        labels = [np.ravel(s.label(kind))[s.known(kind)] for s in held_out if s.label(kind) is not None]
        values = np.concatenate([label / n for label, n in zip(labels, size, strict=True)])
        scale = float(np.std(values))
        if scale > 0:
            shares[kind] = float(np.sqrt(np.mean(np.concatenate(residuals) ** 2))) / scale
    return shares


def held_out_errors(spread: Spread, held_out: Sequence[LabelledStructure]) -> LeaveOneOut:
    """Errors and variances of held-out labels; those of energies per atom."""
    residuals: dict[str, list[NDArray[np.float64]]] = {}
    whole: dict[str, list[NDArray[np.bool_]]] = {}
    own: dict[str, list[NDArray[np.float64]]] = {}
    pooled: dict[str, list[NDArray[np.float64]]] = {}
    energies: list[tuple[float, float | None]] = []
    numbers: list[NDArray[np.int64]] = []
    for s in held_out:
        found = spread.labels(s.atoms, {*s.kinds, "forces"})
        of_forces = float(found["forces"][1].parameter.mean())
        for kind in s.kinds:
            if kind not in found:
                continue
            predicted, variances = found[kind]
            # A structure with larger noise of its own counts as what it would be without.
            known, scale = s.known(kind), s.scales(kind)
            per = scale * (len(s.atoms) if kind == "energy" else 1)
            residuals.setdefault(kind, []).append((np.ravel(s.label(kind) - predicted) / per)[known])
            whole.setdefault(kind, []).append(with_all_mixed(kind, np.flatnonzero(known)))
            own.setdefault(kind, []).append((variances.parameter.numpy() / scale**2)[known])
            pooled.setdefault(kind, []).append((variances.pooled.numpy() / scale**2)[known])
            if kind == "forces":
                numbers.append(np.repeat(s.atoms.numbers, 3)[known])
            if kind == "energy":
                forces = of_forces / scale[0] ** 2 if s.forces is not None else None
                energies.append((float(variances.parameter[0]) / scale[0] ** 2, forces))
    reach = reach_of(energies) if energies else 0.0
    if reach > 0:
        pooled["energy"] = [np.array([v if f is None else reach**2 * f]) for v, f in energies]
    none = {kind: [np.zeros_like(v) for v in values] for kind, values in own.items()}
    return LeaveOneOut(residuals, own, pooled, none, reach, whole=whole, numbers=numbers)


def held_out_forces(spread: Spread, held_out: Sequence[LabelledStructure], misfit: Misfit) -> list[LeftOut]:
    """Force errors on held-out structures, with the error bars of a prediction."""
    found = []
    for s in held_out:
        if s.forces is None:
            continue
        mean, variances = spread.labels(s.atoms, ["forces"])["forces"]
        added, _ = misfit_variance(misfit, variances, KINDS["forces"].together)
        std = (variances.parameter + variances.unrepresented + added).sqrt().numpy()
        whole = s.known("forces").reshape(-1, 3).all(axis=1)
        if whole.any():
            found.append(LeftOut((mean - s.forces)[whole], std.reshape(-1, 3)[whole]))
    return found

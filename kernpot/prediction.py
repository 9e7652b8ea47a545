"""What a potential answers: mean values, and every number with its standard deviations.

Units everywhere: eV, eV/Angstrom, eV/Angstrom^3; stress in ASE's sign and Voigt order (xx, yy, zz, yz, xz, xy).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernpot import tails
from kernpot.errors import NumericalError

FloatArray = NDArray[np.float64]

ENERGY_UNIT = "eV"
FORCE_UNIT = "eV/Å"
STRESS_UNIT = "eV/Å³"
UNITS = {"energy": ENERGY_UNIT, "forces": FORCE_UNIT, "stress": STRESS_UNIT}


def _frozen(name: str, values: ArrayLike) -> FloatArray:
    """Return a read-only finite float64 copy of ``values``."""
    array = np.array(values, dtype=np.float64)
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise NumericalError(
            f"{name} must be finite, got {bad} NaN or infinite of {array.size} values; "
            "check the structure and the model's noise levels"
        )
    array.setflags(write=False)
    return array


@dataclass(frozen=True)
class MeanPrediction:
    """Mean energy, forces and stress of one structure, without uncertainties (the fast path of dynamics).

    Attributes
    ----------
    energy : float
        Total energy, eV.
    energies : ndarray of shape (n_atoms,)
        Energy of each atom, eV; their sum is `energy`.
    forces : ndarray of shape (n_atoms, 3)
        Forces, eV/Angstrom.
    stress : ndarray of shape (6,) or None
        Stress, eV/Angstrom^3; None unless the structure is periodic in three directions.
    """

    energy: float
    energies: FloatArray
    forces: FloatArray
    stress: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class PairPrediction:
    """Energies of centres and their slopes along the vectors to their neighbours, without any idea of a cell.

    With these, energy, forces and virial follow whoever owns the atoms: pair p adds ``gradient[p]`` to the force on its
    centre, takes it from that on its neighbour, and adds ``gradient[p] rij[p]^T`` to the derivative of the energy with
    respect to strain.

    Attributes
    ----------
    energies : ndarray of shape (n_centres,)
        Energy of each centre, eV.
    gradient : ndarray of shape (n_pairs, 3)
        Derivatives of the sum of these energies with respect to the pair vectors, eV/Angstrom.
    std : ndarray of shape (n_centres,) or None
        Standard deviation of each centre's energy, eV, as of ``Prediction.energies``; None unless asked for.
    """

    energies: FloatArray
    gradient: FloatArray
    std: FloatArray | None = None


@dataclass(frozen=True)
class DrawPredictions:
    """Energies, forces and stress of one structure under K potentials; ``predictions[k]`` are those of one.

    Attributes
    ----------
    energies : ndarray of shape (K,)
        Total energies, eV.
    atomic_energies : ndarray of shape (K, n_atoms)
        Energy of each atom, eV; their sums are `energies`.
    forces : ndarray of shape (K, n_atoms, 3)
        Forces, eV/Angstrom.
    stress : ndarray of shape (K, 6) or None
        Stress, eV/Angstrom^3; None unless the structure is periodic in three directions.
    """

    energies: FloatArray
    atomic_energies: FloatArray
    forces: FloatArray
    stress: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.energies)

    def __getitem__(self, k: int) -> MeanPrediction:
        stress = None if self.stress is None else self.stress[k]
        return MeanPrediction(float(self.energies[k]), self.atomic_energies[k], self.forces[k], stress)


@dataclass(frozen=True, repr=False)
class Quantity:
    """A predicted number or array with its standard deviations; all three arrays have one shape.

    Parameters
    ----------
    mean : array_like of shape (...)
        Predictive mean.
    epistemic_std : array_like of shape (...)
        Standard deviation of what the model does not know (more data would lower it).
    std : array_like of shape (...)
        Standard deviation of a label about the mean: epistemic part and misfit of the labels together.
    unit : str
        Unit of all three.
    degrees_of_freedom : float, default=inf
        Of Student's t, whose tails labels have about the mean; infinite for Gaussian tails.

    Raises
    ------
    ValueError
        If shapes differ or a standard deviation is negative.
    NumericalError
        If a value is NaN or infinite.
    """

    mean: FloatArray
    epistemic_std: FloatArray
    std: FloatArray
    unit: str
    degrees_of_freedom: float = math.inf

    def __post_init__(self) -> None:
        if not self.degrees_of_freedom >= tails.LEAST:
            raise ValueError(f"degrees_of_freedom must be at least {tails.LEAST:g}, got {self.degrees_of_freedom}")
        for name in ("mean", "epistemic_std", "std"):
            object.__setattr__(self, name, _frozen(name, getattr(self, name)))
        for name in ("epistemic_std", "std"):
            values = getattr(self, name)
            if values.shape != self.mean.shape:
                raise ValueError(f"{name} must have the mean's shape {self.mean.shape}, got {values.shape}")
            if (values < 0).any():
                raise ValueError(f"{name} must not be negative, got a minimum of {values.min()}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the mean (and of both standard deviations)."""
        return self.mean.shape

    def interval(self, level: float = 0.9) -> tuple[FloatArray, FloatArray]:
        """Central interval that holds a label with probability `level`.

        Parameters
        ----------
        level : float, default=0.9
            Probability between 0 and 1, both excluded.

        Returns
        -------
        low, high : ndarray of shape (...)
            ``mean -+ q std`` with q the ``(1 + level) / 2`` quantile of Student's t of unit variance with
            `degrees_of_freedom`: the standard normal's where they are infinite.

        Raises
        ------
        ValueError
            If `level` is not inside (0, 1).
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must lie between 0 and 1 (0.9 means 90 %), got {level}")
        half = tails.half_width(level, self.degrees_of_freedom) * self.std
        return self.mean - half, self.mean + half

    def __repr__(self) -> str:
        if self.mean.ndim == 0:
            return f"{format_with_std(float(self.mean), float(self.std))} {self.unit}"
        if self.mean.size == 0:
            return f"Quantity(shape={self.shape}, empty, {self.unit})"
        rms = float(np.sqrt(np.mean(self.std**2)))
        return (
            f"Quantity(shape={self.shape}, mean from {self.mean.min():.4g} to {self.mean.max():.4g}, "
            f"std rms {rms:.2g} max {self.std.max():.2g}, {self.unit})"
        )


def format_with_std(mean: float, std: float) -> str:
    """Write ``mean ± std`` with as many decimals as two significant digits of `std` justify (at most 12)."""
    if std == 0.0:
        return f"{mean:.6g} ± 0"
    decimals = min(max(1 - int(np.floor(np.log10(std))), 0), 12)
    return f"{mean:.{decimals}f} ± {std:.{decimals}f}"


@dataclass(frozen=True)
class JointCovariance:
    """Joint covariance of energy, force components and stress of one structure.

    Rows and columns run over ``[energy, forces.ravel(), stress]``: K = 1 + 3 n_atoms, plus 6 when `has_stress`.

    Attributes
    ----------
    epistemic : ndarray of shape (K, K)
        Covariance of what the model does not know; its diagonal is ``epistemic_std**2``.
    total : ndarray of shape (K, K)
        The same with the misfit of labels; its diagonal is ``std**2``.
    n_atoms : int
        Number of atoms.
    has_stress : bool
        Whether the last six rows are the stress.
    """

    epistemic: FloatArray
    total: FloatArray
    n_atoms: int
    has_stress: bool

    def __post_init__(self) -> None:
        size = 1 + 3 * self.n_atoms + (6 if self.has_stress else 0)
        for name in ("epistemic", "total"):
            matrix = _frozen(f"{name} covariance", getattr(self, name))
            if matrix.shape != (size, size):
                with_stress = "with" if self.has_stress else "without"
                raise ValueError(
                    f"{name} covariance of {self.n_atoms} atoms {with_stress} stress must have shape "
                    f"({size}, {size}), got {matrix.shape}"
                )
            object.__setattr__(self, name, matrix)

    def slice_of(self, name: str) -> slice:
        """Rows of ``"energy"``, ``"forces"`` or ``"stress"``."""
        end_of_forces = 1 + 3 * self.n_atoms
        slices = {"energy": slice(0, 1), "forces": slice(1, end_of_forces)}
        if self.has_stress:
            slices["stress"] = slice(end_of_forces, end_of_forces + 6)
        if name not in slices:
            raise KeyError(f"no quantity {name!r} in this covariance; it holds {', '.join(slices)}")
        return slices[name]

    def block(self, first: str, second: str, epistemic: bool = False) -> FloatArray:
        """Covariance between two quantities, e.g. ``block("energy", "forces")`` of shape (1, 3 n_atoms).

        Units are the product of the quantities' units.
        """
        matrix = self.epistemic if epistemic else self.total
        return matrix[self.slice_of(first), self.slice_of(second)]


@dataclass(frozen=True)
class Prediction:
    """Full answer for one structure: every number a distribution.

    Attributes
    ----------
    energy : Quantity of shape ()
        Total energy, eV.
    energies : Quantity of shape (n_atoms,)
        Per-atom energies, eV. They are correlated: their variances do not add up to that of `energy`.
    forces : Quantity of shape (n_atoms, 3)
        Force components, eV/Angstrom.
    stress : Quantity of shape (6,) or None
        Stress, eV/Angstrom^3; None unless the structure is periodic in three directions.
    covariance : JointCovariance or None
        Joint covariance, when asked for.
    """

    energy: Quantity
    energies: Quantity
    forces: Quantity
    stress: Quantity | None = None
    covariance: JointCovariance | None = None

    def __post_init__(self) -> None:
        n_atoms = self.energies.mean.size
        expected = {"energy": (), "energies": (n_atoms,), "forces": (n_atoms, 3), "stress": (6,)}
        for name, shape in expected.items():
            quantity = getattr(self, name)
            if quantity is not None and quantity.shape != shape:
                raise ValueError(f"{name} must have shape {shape} for {n_atoms} atoms, got {quantity.shape}")

    @property
    def mean(self) -> MeanPrediction:
        """The means alone."""
        stress = None if self.stress is None else self.stress.mean
        return MeanPrediction(float(self.energy.mean), self.energies.mean, self.forces.mean, stress)


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Forces of one training structure, had it been left out.

    Attributes
    ----------
    errors : ndarray of shape (n_atoms, 3)
        Predicted less labelled forces, eV/Angstrom.
    std : ndarray of shape (n_atoms, 3)
        Standard deviations of these, calibrated as those of predictions, eV/Angstrom.
    """

    errors: FloatArray
    std: FloatArray

    def __post_init__(self) -> None:
        if self.errors.ndim != 2 or self.errors.shape[1] != 3 or self.std.shape != self.errors.shape:
            raise ValueError(
                f"errors and std must both have shape (n_atoms, 3), got {self.errors.shape} and {self.std.shape}"
            )


@dataclass(frozen=True, eq=False)
class EnergyStd:
    """Standard deviation of the energy of a structure, as a smooth function of its atoms' positions.

    Attributes
    ----------
    std : float
        eV.
    gradient : ndarray of shape (n_atoms, 3)
        Its derivatives with respect to positions, eV/Angstrom.
    stress : ndarray of shape (6,) or None
        Its derivatives with respect to strain, over the volume, eV/Angstrom^3 in ASE's Voigt order; None unless the
        structure is periodic in three directions.
    """

    std: float
    gradient: FloatArray
    stress: FloatArray | None = None


@dataclass(frozen=True)
class Sensitivities:
    """Changes of a structure's labels along M independent unit normal directions of the posterior of the weights.

    The products of two labels' changes, summed over directions, are their covariance, whatever structures they belong
    to.

    Attributes
    ----------
    energy : ndarray of shape (M,), eV
    forces : ndarray of shape (M, n_atoms, 3), eV/A, or None
    stress : ndarray of shape (M, 6), eV/A^3, or None
    """

    energy: FloatArray
    forces: FloatArray | None
    stress: FloatArray | None


class ClosePair(NamedTuple):
    """Two atoms that are closer than any of their elements in a fit.

    Attributes
    ----------
    atoms : (int, int)
        Their places.
    elements : (str, str)
        Their symbols.
    distance : float
        Angstrom.
    closest : float or None
        The closest in the fit, Angstrom; None where these elements never were within the cutoff of one another.
    """

    atoms: tuple[int, int]
    elements: tuple[str, str]
    distance: float
    closest: float | None

    def __str__(self) -> str:
        known = "that never met in the fit" if self.closest is None else f"the closest in the fit {self.closest:.4g} A"
        first, second = (f"{element} {atom}" for element, atom in zip(self.elements, self.atoms, strict=True))
        second = "its own image" if self.atoms[0] == self.atoms[1] else second
        return f"{first} and {second} are {self.distance:.4g} A apart, {known}"

"""Anything that is computed with a potential, with the spread that the potential's uncertainty gives it.

Each draw of the potential gives one value of the property; their scatter is its distribution. Differences, ratios and
fits are taken inside a draw, where errors common to all geometries cancel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from kernpot.errors import KernpotError, PropertyError
from kernpot.prediction import FloatArray, MeanPrediction
from kernpot.progress import Report, lines, reporting
from kernpot.structures.neighbours import Pairs
from kernpot.uncertainty.propagated import Propagated

# What a computation that found no answer raises; anything else is a mistake in the property and is not caught.
_NO_ANSWER = (KernpotError, ArithmeticError, RuntimeError, np.linalg.LinAlgError)


@runtime_checkable
class SinglePotential(Protocol):
    """One potential-energy surface: the mean of a model, or a draw."""

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Energy, forces and stress of a structure."""

    def calculator(self) -> Any:
        """An ASE calculator."""


class FixedGeometries(ABC):
    """A property that needs energies, forces and stress of structures known beforehand, and nothing else.

    All draws are then evaluated together, sharing the descriptors of each structure. Subclasses give `structures`,
    `unit` and :meth:`combine`.

    Attributes
    ----------
    structures : sequence of ase.Atoms
    unit : str
        Unit of the values.
    needs : tuple of str
        What it needs beside energies: ``"forces"``, ``"stress"``.
    linear : bool
        Whether :meth:`combine` is linear and homogeneous in the answers, so that
        :func:`kernpot.uncertainty.linear.linearise` is exact.
    """

    structures: Sequence[Atoms]
    unit: str
    needs: tuple[str, ...] = ()
    linear: bool = False

    @abstractmethod
    def combine(self, answers: Sequence[MeanPrediction]) -> FloatArray:
        """Value of the property from the answers of one potential, in the order of `structures`."""

    def __call__(self, potential: SinglePotential) -> FloatArray:
        """Value of the property for one potential."""
        return self.combine([potential.mean(atoms) for atoms in self.structures])


def propagate(
    property_function: Callable[[Any], ArrayLike],
    potential: Any,
    n_draws: int = 32,
    random_state: int | np.random.RandomState | None = None,
    unit: str | None = None,
    max_failed: float = 0.1,
    progress: bool | Report | None = None,
) -> Propagated:
    """Distribution of a property over draws of the potential.

    Parameters
    ----------
    property_function : callable
        Takes one potential, with ``.calculator()`` (ASE) and ``.mean(atoms)``, and returns a number or an array, of one
        shape for all potentials. It should depend on nothing else: random numbers in it need a fixed seed. Those of
        :mod:`kernpot.properties` are ready-made.
    potential : Potential or Draws
        A fitted potential with ``sample_potentials``, or draws made before: several properties from the same draws
        can then be compared and combined.
    n_draws : int, default=32
        Number of draws; the std is known to about ``1 / sqrt(2 n_draws)`` of itself. Not used for given draws.
    random_state : int, RandomState or None
        Seed of the draws. Not used for given draws.
    unit : str, optional
        Unit of the values; by default the property's ``unit`` attribute, or none.
    max_failed : float, default=0.1
        Largest share of draws that may find no answer (a relaxation that does not converge, say).
    progress : bool or callable, optional
        True shows a bar; a callable gets ``("draws", done, total)``. By default what takes longer than five seconds
        writes a line to stderr now and then; False keeps it silent.

    Returns
    -------
    Propagated

    Raises
    ------
    ValueError
        If there are fewer than two draws or `max_failed` is not a share.
    PropertyError
        If the mean potential finds no answer, or more draws fail than `max_failed` allows.
    """
    if not 0.0 <= max_failed < 1.0:
        raise ValueError(f"max_failed must be a share from 0 to below 1, got {max_failed}")
    draws = potential
    if hasattr(potential, "sample_potentials"):
        draws = potential.sample_potentials(n_draws, random_state=random_state)
    if not hasattr(draws, "mean_potential"):
        raise TypeError(
            f"expected a fitted potential with sample_potentials, or its draws, got {type(potential).__name__}"
        )
    if len(draws) < 2:
        raise ValueError(f"at least 2 draws are needed to see a spread, got {len(draws)}")
    values: list[FloatArray] = []
    failures: list[str] = []
    with lines("the mean potential") if progress is None else reporting(progress) as report:
        try:
            of_mean = _finite(property_function(draws.mean_potential))
        except _NO_ANSWER as error:
            raise PropertyError(f"the property has no value for the mean potential: {error}") from error
        for done, attempt in enumerate(_attempts(property_function, draws, report), 1):
            try:
                values.append(_finite(attempt()))
            except _NO_ANSWER as error:
                failures.append(f"draw {done - 1}: {error}")
            if report is not None:
                report("draws", done, len(draws))
    if len(failures) > max_failed * len(draws) or len(values) < 2:
        raise PropertyError(
            f"{len(failures)} of {len(draws)} draws found no value, at most {max_failed:.0%} may; the first: "
            f"{failures[0]}. Where draws fail in number the property is not known: train where they fail, or look at "
            "draws one by one (potential.sample_potentials) and raise max_failed"
        )
    if any(value.shape != of_mean.shape for value in values):
        raise PropertyError(
            f"values must have one shape for all potentials, got {sorted({v.shape for v in [of_mean, *values]})}"
        )
    unit = getattr(property_function, "unit", "") if unit is None else unit
    return Propagated(np.stack(values), of_mean, unit, tuple(failures))


def _attempts(
    property_function: Callable[[Any], ArrayLike], draws: Any, report: Report | None
) -> list[Callable[[], ArrayLike]]:
    """For each draw what computes its value."""
    if not isinstance(property_function, FixedGeometries):
        return [lambda draw=draw: property_function(draw) for draw in draws]  # type: ignore[misc]
    shared = []
    for done, atoms in enumerate(property_function.structures, 1):
        shared.append(draws.evaluate(atoms))
        if report is not None:
            report("structures", done, len(property_function.structures))
    return [
        lambda k=k: property_function.combine([answers[k] for answers in shared])  # type: ignore[misc]
        for k in range(len(draws))
    ]


def _finite(value: ArrayLike) -> FloatArray:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PropertyError(f"expected a number or an array of numbers, got {value!r}: {error}") from None
    if not array.size:
        raise PropertyError("expected at least one number, got an empty array")
    if not np.isfinite(array).all():
        raise PropertyError(f"expected finite numbers, got {int((~np.isfinite(array)).sum())} that are not")
    return array

"""An upper bound on the largest force std of a structure, from a screen and the full checks of the same run.

What a potential's screen says of an atom, ``p_i``, and its exact std go together by a ratio that differs from system to
system and from atom to atom, and changes slowly along a run. Every full check tells the ratios of all atoms. With
``r_i`` the largest of an atom's last `_KEPT` ratios and ``q_i`` its largest ``p_i`` at these checks, the bound is

    max_i  safety r_i p_i max(1, p_i / q_i).

Ratios grow with what the screen says, hence the last factor where it says more than any of these checks has seen. An
atom that comes to be like none before may have a larger ratio than it had, so each counts at least as much as the upper
quartile over the atoms.

The three numbers were chosen on runs of potentials of training parts in ``benchmarks/error_bars/shifts.py`` (ethanol,
Si, an alloy; quiet, heated, atoms pulled out), of a Lennard-Jones crystal and of aluminium under effective medium
theory, as the cheapest that let next to nothing through; ``docs/gate.md`` says how it does elsewhere.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kernpot.calculator import KernpotCalculator
from kernpot.potential import Potential, Screen

Numbers = NDArray[np.float64]

_KEPT, _SAFETY, _AT_LEAST = 10, 1.5, 0.75
# What a screen says of an atom, at least (eV/A), so that ratios are finite.
_LEAST = 1e-12


class Screening:
    """The bound, and what it has learnt.

    Parameters
    ----------
    potential : Potential
        That the screen is of, and that calculators may have.
    screen : Screen
    """

    def __init__(self, potential: Potential, screen: Screen) -> None:
        self._potential, self._screen = potential, screen
        self._ratios: deque[Numbers] = deque(maxlen=_KEPT)
        self._seen: deque[Numbers] = deque(maxlen=_KEPT)
        self._numbers: NDArray[np.int_] | None = None

    def rough(self, atoms: Atoms) -> Numbers:
        """What the screen says of each atom, (n_atoms,) in eV/A.

        It comes with the forces where these are of a calculator of the potential; otherwise it takes another mean.
        """
        calculator, found = atoms.calc, None
        if isinstance(calculator, KernpotCalculator) and calculator.potential is self._potential:
            calculator.screen = self._screen  # from the next step on
            found = calculator.screened if _same(atoms, calculator.atoms) else None
        return np.maximum(self._screen(atoms)[1] if found is None else found, _LEAST)

    def bound(self, atoms: Atoms, rough: Numbers) -> float:
        """What the largest force std should not exceed, eV/A; infinite before a full check of these atoms."""
        if self._numbers is None or not np.array_equal(atoms.numbers, self._numbers):
            return np.inf
        beyond = np.maximum(1.0, rough / np.max(self._seen, axis=0))
        return float(_SAFETY * (np.max(self._ratios, axis=0) * rough * beyond).max())

    def learn(self, atoms: Atoms, rough: Numbers, exact: Numbers) -> None:
        """Take in a full check: the largest std of a component of the force on each atom, (n_atoms,) in eV/A."""
        if self._numbers is None or not np.array_equal(atoms.numbers, self._numbers):
            self._ratios.clear()
            self._seen.clear()
            self._numbers = atoms.numbers.copy()
        self._seen.append(rough)
        ratios = exact / rough
        self._ratios.append(np.maximum(ratios, np.quantile(ratios, _AT_LEAST)))


def _same(atoms: Atoms, computed: Atoms | None) -> bool:
    """Whether a calculator's results are those of these atoms."""
    return (
        computed is not None
        and np.array_equal(atoms.positions, computed.positions)
        and np.array_equal(atoms.cell.array, computed.cell.array)
        and np.array_equal(atoms.numbers, computed.numbers)
    )

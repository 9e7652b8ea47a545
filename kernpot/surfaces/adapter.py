"""Any ASE calculator as a surface: what a baseline is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from numpy.typing import NDArray

from kernpot.errors import KernpotError
from kernpot.prediction import MeanPrediction, PairPrediction
from kernpot.structures.neighbours import Pairs


class CalculatorSurface:
    """Energies, forces and stress of an ASE calculator.

    Parameters
    ----------
    calculator : ase.calculators.calculator.Calculator
    elements : sequence of int, optional
        Atomic numbers it knows; all by default.

    Attributes
    ----------
    elements_ : tuple of int
    cutoff : float
        Zero: it finds its neighbours itself.
    name : str
        Class of the calculator.
    """

    def __init__(self, calculator: Calculator, elements: Sequence[int] | None = None) -> None:
        self.calculator = calculator
        self.elements_ = tuple(range(1, len(chemical_symbols))) if elements is None else tuple(elements)
        self.cutoff = 0.0
        self.name = f"{type(calculator).__module__}.{type(calculator).__qualname__}"

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:  # noqa: ARG002
        """Energy, forces and, for three periodic directions and where the calculator has it, stress.

        Atomic energies are the calculator's own, or equal shares of the energy where it has none.

        Raises
        ------
        KernpotError
            The calculator fails, or gives numbers that are not finite or not as many as there are atoms.
        """
        copy = atoms.copy()  # with charges, moments and tags, which calculators read
        copy.set_constraint()
        copy.calc = self.calculator
        known = getattr(self.calculator, "implemented_properties", ())
        try:
            energy, forces = float(copy.get_potential_energy()), np.array(copy.get_forces(), dtype=np.float64)
            stress = np.array(copy.get_stress(), dtype=np.float64) if all(atoms.pbc) and "stress" in known else None
            own = np.array(copy.get_potential_energies(), dtype=np.float64) if "energies" in known else None
        except Exception as error:
            raise KernpotError(
                f"the baseline {self.name} failed on a structure of {len(atoms)} atoms ({atoms.symbols}): {error}"
            ) from error
        energies = np.full(len(atoms), energy / len(atoms)) if own is None else own
        for what, x, shape in (("forces", forces, (len(atoms), 3)), ("energies of atoms", energies, (len(atoms),))):
            if x.shape != shape:
                raise KernpotError(f"the baseline {self.name} gives {what} of shape {x.shape}, expected {shape}.")
        found = [np.array(energy), energies, forces, *([] if stress is None else [stress])]
        if not all(np.isfinite(x).all() for x in found):
            raise KernpotError(f"the baseline {self.name} gives numbers that are not finite for {atoms.symbols}.")
        return MeanPrediction(energy, energies, forces, stress)

    def along_pairs(
        self,
        numbers: NDArray[np.int64],  # noqa: ARG002
        pairs: Pairs,  # noqa: ARG002
        n_centres: int,  # noqa: ARG002
        std: bool = False,  # noqa: ARG002
    ) -> PairPrediction:
        """Refused: a calculator answers for whole structures.

        Raises
        ------
        KernpotError
            Always.
        """
        raise KernpotError(
            f"the baseline {self.name} is a calculator of whole structures, and this engine has pairs of its own: "
            "drive the simulation through ASE, or let the engine add the baseline itself."
        )

    def predict_full(self, structures: Sequence[Atoms] | Atoms, covariance: bool = False) -> NoReturn:  # noqa: ARG002
        """Refused: a calculator has no error bars.

        Raises
        ------
        KernpotError
            Always.
        """
        raise KernpotError(f"{self.name} has no error bars: ask the potential on top of it.")


def surface_name(surface: object) -> str:
    """How files and messages name a surface."""
    return str(getattr(surface, "name", f"{type(surface).__module__}.{type(surface).__qualname__}"))

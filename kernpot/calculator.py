"""The ASE calculator: any kernpot potential in ASE's optimisers, dynamics, NEB and vibrations."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.data import chemical_symbols
from numpy.typing import NDArray

from kernpot.errors import StructureError
from kernpot.potential import Screen, Surface
from kernpot.prediction import Prediction
from kernpot.structures.neighbours import NeighbourList


class KernpotCalculator(Calculator):
    """ASE calculator around a fitted potential.

    Energies and forces are the means; the distribution is in `prediction`, computed only when asked for.

    Parameters
    ----------
    potential : Surface
        A fitted potential, or a draw from its posterior.
    skin : float, default=0.5
        Extra radius of the neighbour list, Angstrom: the list is rebuilt when an atom has moved by half of it.

    Attributes
    ----------
    screen : Screen or None
        Evaluated in place of the mean, which is part of its answer, when set: a gate does.
    screened : ndarray of shape (n_atoms,) or None
        What the screen said of the forces last computed, eV/Angstrom.

    Examples
    --------
    >>> atoms.calc = potential.calculator()
    >>> atoms.get_forces().shape
    (4, 3)
    >>> bool((atoms.calc.prediction.forces.std > 0).all())
    True
    """

    name = "kernpot"
    # ASE declares these as instance variables, so ClassVar would be wrong.
    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012

    def __init__(self, potential: Surface, skin: float = 0.5) -> None:
        super().__init__()
        self.potential = potential
        self.neighbour_list = NeighbourList(potential.cutoff, skin=skin)
        self.screen: Screen | None = None
        self.screened: NDArray[np.float64] | None = None
        self._prediction: Prediction | None = None
        self._watched: weakref.ref[Atoms] | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute energy, energies, forces and (periodic in three directions only) stress of `atoms`.

        Raises
        ------
        PropertyNotImplementedError
            If the stress of a structure that is not periodic in three directions is asked for.
        StructureError
            If positions are not finite, or an element is unknown to the potential.
        """
        if atoms is not None and properties and "stress" in properties and not atoms.pbc.all():
            raise PropertyNotImplementedError(
                "stress needs a structure periodic in three directions, "
                f"got pbc = {atoms.pbc.tolist()}; set atoms.pbc = True or do not ask for the stress"
            )
        super().calculate(atoms, properties, system_changes)
        self.results = {}
        self._prediction = self.screened = None
        if atoms is not None:
            self._watched = weakref.ref(atoms)
        if self.atoms is None:
            raise StructureError("nothing to compute: no structure was given to the calculator")
        self._check(self.atoms)
        pairs = self.neighbour_list.update(self.atoms)
        if self.screen is None:
            mean, self.screened = self.potential.mean(self.atoms, pairs=pairs), None
        else:
            mean, self.screened = self.screen(self.atoms, pairs)
        self.results = {
            "energy": mean.energy,
            "free_energy": mean.energy,
            "energies": mean.energies,
            "forces": mean.forces,
        }
        if mean.stress is not None:
            self.results["stress"] = mean.stress

    @property
    def prediction(self) -> Prediction:
        """The full distribution for the structure last computed, as it is now; computed once per geometry.

        Raises
        ------
        RuntimeError
            If nothing has been computed with this calculator yet.
        """
        atoms = self._watched() if self._watched is not None else self.atoms
        if atoms is None:
            atoms = self.atoms
        if atoms is None:
            raise RuntimeError(
                "this calculator has not seen a structure yet: call atoms.get_potential_energy() first, "
                "or use potential.predict_full([atoms])"
            )
        if self._prediction is None or self.check_state(atoms):
            if self.check_state(atoms):
                self.calculate(atoms, ["energy"], all_changes)
            self._prediction = self.potential.predict_full([atoms])[0]
        return self._prediction

    def _check(self, atoms: Atoms) -> None:
        if not np.isfinite(atoms.positions).all():
            first = int(np.argwhere(~np.isfinite(atoms.positions))[0, 0])
            raise StructureError(
                f"positions must be finite, got NaN or infinity at atom {first}: has the dynamics blown up? "
                "try a smaller time step and look at the last frames"
            )
        unknown = sorted(set(atoms.numbers.tolist()) - set(self.potential.elements_))
        if unknown:
            raise StructureError(
                f"the potential knows {_symbols(self.potential.elements_)}, the structure also has "
                f"{_symbols(unknown)}; fit with structures that contain these elements"
            )

    def __getstate__(self) -> dict[str, Any]:
        # A weak reference cannot be pickled (e.g. by multiprocessing); the copy falls back to its own atoms.
        return {**self.__dict__, "_watched": None}


def _symbols(numbers: Any) -> str:
    return ", ".join(chemical_symbols[number] for number in numbers)

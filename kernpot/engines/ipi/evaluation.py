"""A potential as i-PI asks for it: one structure at a time, in atomic units, with a committee beside the mean."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from kernpot.engines.core import PairFunction, evaluated_together
from kernpot.errors import KernpotError, StructureError
from kernpot.files.container import load
from kernpot.potential import Potential
from kernpot.prediction import DrawPredictions, MeanPrediction
from kernpot.structures import read_structures
from kernpot.structures.checks import check_atoms
from kernpot.structures.neighbours import NeighbourList, Pairs, find_pairs

FloatArray = NDArray[np.float64]

# One structure after the other through the same list: beads of a ring polymer differ by some tenths of an Angstrom.
_SKIN = 1.0


class InAtomicUnits(NamedTuple):
    """What i-PI wants of a structure: Hartree and Bohr; the virial has the sign of a pressure."""

    energy: float
    forces: FloatArray
    virial: FloatArray
    extras: str


class Evaluation:
    """Energy, forces and virial of the mean, and those of draws from the posterior as a committee.

    The committee's members are ``mean + draw - average of the draws``: they scatter as draws do and their average is
    the mean that drives the beads, as i-PI's reweighting supposes. Extras hold ``committee_pot`` (Hartree),
    ``energy_std`` (Hartree; the exact standard deviation over draws that the committee samples) and on request
    ``committee_force`` and ``committee_virial``, as i-PI's committees name them (Imbalzano et al., J. Chem. Phys. 154,
    074102 (2021)).

    Parameters
    ----------
    potential : Potential
    template : ase.Atoms
        The elements in i-PI's order, and which directions are periodic. Wires and slabs have forces but no stress.
    committee : int, default=0
        Number of draws; 0 gives no extras.
    committee_forces : bool, default=False
        Their forces and virials, too, which i-PI's ``ffcommittee`` asks for when it mixes in a baseline.
    random_state : int, default=0
        Seed of the draws.

    Raises
    ------
    StructureError
        The template is no structure for the potential.
    """

    def __init__(
        self,
        potential: Potential,
        template: Atoms,
        committee: int = 0,
        committee_forces: bool = False,
        random_state: int = 0,
    ) -> None:
        check_atoms(template, "the template")
        foreign = sorted(set(template.numbers.tolist()) - set(potential.elements_))
        if foreign:
            raise StructureError(
                f"the template holds atomic numbers {foreign}, the potential knows {list(potential.elements_)}; fit "
                "with structures that hold them."
            )
        if committee < 0 or committee == 1:
            raise KernpotError(f"committee must be a number of draws, at least 2, or 0 for none, got {committee}.")
        self.potential = potential
        self._template = Atoms(template.numbers, template.positions, cell=template.cell, pbc=template.pbc)
        self._function, self._lists = PairFunction(potential), list[NeighbourList]()
        self._first_cell: FloatArray | None = None
        self._draws = potential.sample_potentials(committee, random_state) if committee else None
        self._with_forces = committee_forces

    @classmethod
    def of_files(
        cls,
        model: str | os.PathLike[str],
        template: str | os.PathLike[str],
        committee: int = 0,
        committee_forces: bool = False,
        random_state: int = 0,
    ) -> Evaluation:
        """From a model file and a file whose last structure is the template."""
        potential: Potential = load(model)
        return cls(potential, read_structures(template)[-1], committee, committee_forces, random_state)

    def __call__(self, cells: Sequence[FloatArray], positions: Sequence[FloatArray]) -> list[InAtomicUnits]:
        """Evaluate structures, the beads of a ring polymer for one, together.

        Parameters
        ----------
        cells : sequence of ndarray of shape (3, 3), Bohr
            Cell vectors in columns.
        positions : sequence of ndarray of shape (n_atoms, 3), Bohr

        Raises
        ------
        StructureError
            The template is not periodic in all directions, and i-PI's cell says otherwise: read as periodic it makes
            other neighbours, or it changes, and there is no stress.
        """
        while len(self._lists) < len(cells):
            self._lists.append(NeighbourList(self.potential.cutoff, _SKIN))
        systems = [self._structure(cell, x) for cell, x in zip(cells, positions, strict=True)]
        for atoms in systems:
            self._require_meant(atoms)
        pairs = [near.update(atoms) for near, atoms in zip(self._lists, systems, strict=False)]
        means = evaluated_together(self._function, systems, pairs)
        return [self._answer(*of_one) for of_one in zip(systems, pairs, means, strict=True)]

    def _require_meant(self, atoms: Atoms) -> None:
        """Where i-PI's cell, or part of it, counts for nothing: that this cannot be by mistake."""
        if atoms.pbc.all():
            return
        cell = atoms.cell.array
        if self._first_cell is None:
            whole = Atoms(atoms.numbers, atoms.positions, cell=cell, pbc=True)
            cutoff = self.potential.cutoff
            if len(find_pairs(whole, cutoff)) != len(find_pairs(atoms, cutoff)):
                raise StructureError(
                    f"the template is periodic in {int(atoms.pbc.sum())} of 3 directions, and i-PI's cell, read as "
                    f"periodic, brings images within {cutoff:g} A: give a template with a cell and pbc (extended xyz: "
                    "Lattice and pbc; i-PI's own xyz files tell ASE neither), or, if there is nothing periodic, a cell "
                    "in i-PI that is larger."
                )
            self._first_cell = cell
        elif not np.array_equal(cell, self._first_cell):
            raise StructureError(
                f"i-PI's cell changes, but the template is periodic in {int(atoms.pbc.sum())} of 3 directions, for "
                "which there is no stress: give a template with a cell and pbc, or simulate at constant volume."
            )

    def _structure(self, cell: FloatArray, positions: FloatArray) -> Atoms:
        own = self._template
        return Atoms(own.numbers, positions.reshape(-1, 3) * units.Bohr, cell=cell.T * units.Bohr, pbc=own.pbc)

    def _answer(self, atoms: Atoms, pairs: Pairs, mean: MeanPrediction) -> InAtomicUnits:
        extras = ""
        if self._draws is not None:
            std = self.potential.energy_std(atoms, pairs).std
            extras = json.dumps(self._committee(atoms, mean, self._draws.evaluate(atoms, pairs), std))
        virial = _virial(mean.stress, atoms)
        return InAtomicUnits(mean.energy / units.Hartree, mean.forces * units.Bohr / units.Hartree, virial, extras)

    def _committee(self, atoms: Atoms, mean: MeanPrediction, draws: DrawPredictions, std: float) -> dict[str, Any]:
        def about(values: FloatArray, centre: Any) -> FloatArray:
            recentred: FloatArray = values - values.mean(0) + centre
            return recentred

        energies = about(draws.energies, mean.energy) / units.Hartree
        told: dict[str, Any] = {"committee_pot": energies.tolist(), "energy_std": std / units.Hartree}
        if self._with_forces:
            forces = about(draws.forces, mean.forces) * units.Bohr / units.Hartree
            told["committee_force"] = forces.reshape(len(draws), -1).tolist()
            virials = np.zeros((len(draws), 9))
            if draws.stress is not None:
                stress = about(draws.stress, mean.stress)
                virials = np.stack([_virial(s, atoms).ravel() for s in stress])
            told["committee_virial"] = virials.tolist()
        return told


def _virial(stress: FloatArray | None, atoms: Atoms) -> FloatArray:
    """``-V`` times the stress, Hartree; zeros for what has none."""
    if stress is None:
        return np.zeros((3, 3))
    full: FloatArray = -stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3) * atoms.get_volume() / units.Hartree
    return full

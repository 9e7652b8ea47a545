"""Conformance checks for any fitted potential: what every backend, ours or a third party's, must hold.

Each check also stands alone: ``check_forces(potential, atoms, rng)`` for one structure, ``check_lists(potential,
structures)`` for several. The structures are the caller's choice: a few atoms each, of elements the potential knows,
and of every periodicity that matters. Checks of learning need no labels, which they make, and learn on deep copies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from kernpot.potential import Potential
from kernpot.testing.draws import check_draws
from kernpot.testing.gate import check_gate
from kernpot.testing.interface import (
    check_answers,
    check_clone,
    check_covariance,
    check_input_is_kept,
    check_lists,
    check_methods_agree,
    check_refusals,
    check_save_and_load,
)
from kernpot.testing.learning import (
    check_calibrate,
    check_left_out,
    check_partial_fit,
    check_score,
    check_select,
    check_update,
)
from kernpot.testing.pairs import check_along_pairs
from kernpot.testing.physics import (
    check_cutoff,
    check_energy_std,
    check_forces,
    check_images,
    check_permutation,
    check_rotation,
    check_separation,
    check_stress,
    check_supercell,
    check_translation,
)

STRUCTURE_CHECKS = (
    check_answers,
    check_covariance,
    check_methods_agree,
    check_along_pairs,
    check_input_is_kept,
    check_forces,
    check_stress,
    check_permutation,
    check_translation,
    check_images,
    check_rotation,
    check_supercell,
    check_separation,
    check_cutoff,
    check_energy_std,
    check_draws,
    check_gate,
    check_refusals,
)
"""Checks of one structure: ``check(potential, atoms, rng)``; they may change the atoms they get."""

LIST_CHECKS = (
    check_lists,
    check_clone,
    check_save_and_load,
    check_score,
    check_select,
    check_left_out,
    check_partial_fit,
    check_update,
    check_calibrate,
)
"""Checks of a potential with several structures: ``check(potential, structures)``."""

__all__ = [
    "LIST_CHECKS",
    "STRUCTURE_CHECKS",
    "check_along_pairs",
    "check_answers",
    "check_calibrate",
    "check_clone",
    "check_covariance",
    "check_cutoff",
    "check_draws",
    "check_energy_std",
    "check_forces",
    "check_gate",
    "check_images",
    "check_input_is_kept",
    "check_left_out",
    "check_lists",
    "check_methods_agree",
    "check_partial_fit",
    "check_permutation",
    "check_potential",
    "check_refusals",
    "check_rotation",
    "check_save_and_load",
    "check_score",
    "check_select",
    "check_separation",
    "check_stress",
    "check_supercell",
    "check_translation",
    "check_update",
]


def check_potential(potential: Potential, structures: Sequence[Atoms], random_state: int = 0) -> None:
    """Run every check.

    Parameters
    ----------
    potential : Potential
        Fitted.
    structures : sequence of ase.Atoms
        Small structures of the potential's elements; they are not changed.
    random_state : int, default=0
        Seed of rotations, displacements and permutations.

    Raises
    ------
    AssertionError
        Naming the check and the structure, what was expected and what was found.

    Examples
    --------
    >>> from kernpot.testing import check_potential
    >>> check_potential(potential, [atoms])
    """
    if not len(structures):
        raise AssertionError("check_potential: expected at least one structure to check with, got none")
    for index, atoms in enumerate(structures):
        for check in STRUCTURE_CHECKS:
            try:
                check(potential, _bare(atoms), np.random.default_rng(random_state))
            except AssertionError as error:
                where = f"structures[{index}] ({atoms.get_chemical_formula()})"
                raise AssertionError(f"{check.__name__}, {where}: {error}") from error
    for check_list in LIST_CHECKS:
        try:
            check_list(potential, [_bare(atoms) for atoms in structures])
        except AssertionError as error:
            raise AssertionError(f"{check_list.__name__}: {error}") from error


def _bare(atoms: Atoms) -> Atoms:
    """A copy that shares nothing, without calculator, constraints and the name of its file."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)

"""Charge and spin of a structure: what `atoms.info` says that an oracle computes with, and that stays as atoms move."""

from __future__ import annotations

from typing import Any

from ase import Atoms

NAMES = ("charge", "spin", "multiplicity", "total_charge", "total_spin")
"""Entries of ``atoms.info`` that calculators take the electronic state from."""


def electronic_state(atoms: Atoms) -> dict[str, Any]:
    """What is said of it, as plain numbers or text."""
    said = {name: atoms.info[name] for name in NAMES if name in atoms.info}
    return {name: value.item() if hasattr(value, "item") else value for name, value in said.items()}


def forget_all_else(atoms: Atoms) -> None:
    """Leave nothing but the electronic state in a structure's info: the rest was said of one frame."""
    state = electronic_state(atoms)
    atoms.info.clear()
    atoms.info.update(state)

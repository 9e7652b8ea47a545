"""Lower the energy where the potential knows least, so that a simulation finds what is worth a label sooner.

A simulation on ``E - B``, with the standard deviation ``sigma`` of the energy and

    B = limit tanh(tau sigma / limit),

is drawn to structures the potential does not know: hyperactive learning (van der Oord et al., npj Comput. Mater. 9, 168
(2023)), and bounded as in uncertainty-driven dynamics (Kulichenko et al., Nat. Comput. Sci. 3, 230 (2023)), so that no
energy is lower by more than ``limit`` and forces do not run away where everything is unknown. Forces and stress are the
exact derivatives. Averages over such a simulation are those of the biased energy: it is for exploring.
"""

from __future__ import annotations

import math
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from kernpot.errors import KernpotError
from kernpot.parameters import is_real
from kernpot.potential import Potential
from kernpot.structures.neighbours import find_pairs


class BiasedCalculator(Calculator):
    """ASE calculator of a potential's mean energy less a bounded multiple of its standard deviation.

    Parameters
    ----------
    potential : Potential
        Fitted.
    tau : float, default=1.0
        Standard deviations that the energy is lowered by, as far as ``limit`` allows; 0 is the plain potential.
    limit : float, default=1.0
        Largest bias, eV.

    Attributes
    ----------
    bias : float
        By how much the last energy was lowered, eV.

    Raises
    ------
    KernpotError
        When ``tau`` is negative or ``limit`` is not positive.
    """

    implemented_properties = [  # noqa: RUF012
        "energy",
        "free_energy",
        "forces",
        "stress",
    ]

    def __init__(self, potential: Potential, tau: float = 1.0, limit: float = 1.0) -> None:
        super().__init__()
        if not is_real(tau, 0):
            raise KernpotError(f"tau: expected a number of standard deviations, 0 or more, got {tau!r}.")
        if not (is_real(limit) and limit > 0):
            raise KernpotError(f"limit: expected a positive energy in eV, got {limit!r}.")
        self.potential, self.tau, self.limit = potential, float(tau), float(limit)
        self.bias = 0.0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Energy, forces and, for three periodic directions, stress."""
        super().calculate(atoms, properties, system_changes)
        structure = self.atoms if atoms is None else atoms
        if structure is None:
            raise KernpotError("there is no structure to calculate: pass atoms, or set atoms.calc.")
        pairs = find_pairs(structure, self.potential.cutoff)
        mean = self.potential.mean(structure, pairs)
        std = self.potential.energy_std(structure, pairs)
        part = math.tanh(self.tau * std.std / self.limit)
        slope = self.tau * (1 - part**2)
        self.bias = self.limit * part
        energy = mean.energy - self.bias
        self.results: dict[str, Any] = {
            "energy": energy,
            "free_energy": energy,
            "forces": mean.forces + slope * std.gradient,
        }
        if mean.stress is not None and std.stress is not None:
            self.results["stress"] = mean.stress - slope * std.stress

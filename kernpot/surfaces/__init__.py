"""Sums of atomic energies as potentials, and draws of either backend. Knows no error bar."""

from kernpot.surfaces.adapter import CalculatorSurface
from kernpot.surfaces.draws import Draws, PotentialDraw

__all__ = ["CalculatorSurface", "Draws", "PotentialDraw"]

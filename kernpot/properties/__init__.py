"""Properties of materials computed with one potential; :func:`kernpot.uncertainty.propagate` gives them error bars.

Each is an object made for a structure, with a ``unit``, called with a potential: the mean of a model or a draw of it.
Those whose geometries are known beforehand (:class:`kernpot.uncertainty.propagation.FixedGeometries`) evaluate all
draws together; those linear in the potential are linearised exactly by :func:`kernpot.uncertainty.linear.linearise`.
"""

from __future__ import annotations

from kernpot.properties.barrier import Barrier, PathEnergies, minimum_energy_path
from kernpot.properties.elastic import ElasticConstants, bulk_modulus, cubic_constants, shear_modulus
from kernpot.properties.energies import EnergyDifference
from kernpot.properties.lattice import EquationOfState, LatticeConstants, RelaxedCell, conventional_cell
from kernpot.properties.phonons import ForceConstants, PhononModes, signed_root
from kernpot.properties.rate import Rate, arrhenius
from kernpot.properties.reweighting import Average, reweighted_average
from kernpot.properties.vacancy import VacancyFormationEnergy

__all__ = [
    "Average",
    "Barrier",
    "ElasticConstants",
    "EnergyDifference",
    "EquationOfState",
    "ForceConstants",
    "LatticeConstants",
    "PathEnergies",
    "PhononModes",
    "Rate",
    "RelaxedCell",
    "VacancyFormationEnergy",
    "arrhenius",
    "bulk_modulus",
    "conventional_cell",
    "cubic_constants",
    "minimum_energy_path",
    "reweighted_average",
    "shear_modulus",
    "signed_root",
]

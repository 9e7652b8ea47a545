"""kernpot inside LAMMPS, on any number of MPI ranks.

LAMMPS moves the atoms, shares them out between processes and keeps their ghosts; :class:`Kernpot` gives it energies,
forces, the virial and the standard deviation of every atom's energy through ``fix external``, which needs no compiler.
:func:`run_script` runs an input script with ``pair_style kernpot`` in it, as ``kernpot lammps`` does.
"""

from kernpot.engines.lammps.fix import Kernpot
from kernpot.engines.lammps.launch import run_script

__all__ = ["Kernpot", "run_script"]

"""kernpot inside LAMMPS, on any number of MPI ranks.

LAMMPS moves the atoms, shares them out between processes and keeps their ghosts; :class:`Kernpot` gives it energies,
forces, the virial and the standard deviation of every atom's energy through ``fix external``, which needs no compiler.
:func:`build` compiles a pair style of LAMMPS's own, which reads what :func:`write_tables` writes. :func:`run_script`
runs an input script with ``pair_style kernpot`` in it, by either, as ``kernpot lammps`` does.
"""

from kernpot.engines.lammps.compiling import build
from kernpot.engines.lammps.fix import Kernpot
from kernpot.engines.lammps.launch import run_script
from kernpot.engines.lammps.tables import write_tables

__all__ = ["Kernpot", "build", "run_script", "write_tables"]

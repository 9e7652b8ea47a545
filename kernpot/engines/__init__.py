"""Other people's simulators, with kernpot's energies, forces and error bars in them.

Everything here stands on one function, :class:`kernpot.engines.core.PairFunction`: pairs of atoms, their elements and
the vectors between them in, energies, slopes and standard deviations out. An adapter brings an engine's atoms into that
form and its answers back: LAMMPS, i-PI, metatomic, torch-sim, each behind an extra of its own. ASE's adapter is
:mod:`kernpot.calculator`, a room that dynamics and properties stand on.
"""

from kernpot.engines.core import PairFunction

__all__ = ["PairFunction"]

"""Files for metatomic: what LAMMPS, i-PI, ASE, PLUMED, GROMACS and others read, kernpot installed or not."""

from __future__ import annotations

from kernpot.errors import KernpotError

try:
    import metatomic.torch  # noqa: F401
except ImportError as error:
    raise KernpotError(f"this needs metatomic ({error}): pip install 'kernpot[metatomic]'") from None

from kernpot.engines.metatomic.export import exported, write

__all__ = ["exported", "write"]

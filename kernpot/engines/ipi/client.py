"""A client at i-PI's socket: i-PI's own, with kernpot's surface."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from kernpot.engines.ipi.evaluation import Evaluation
from kernpot.errors import KernpotError
from kernpot.parallel.attended import run_child

_INSTALL = "pip install 'kernpot[ipi]'"


def run_client(
    model: str | os.PathLike[str],
    template: str | os.PathLike[str],
    address: str = "localhost",
    port: int | None = None,
    committee: int = 0,
    committee_forces: bool = False,
    random_state: int = 0,
) -> None:
    """Answer i-PI until it says that the run is over.

    Parameters
    ----------
    model, template : path-like
        Model file, and a file whose last structure has the atoms in i-PI's order.
    address : str
        Host of an ``inet`` socket, or name of a ``unix`` socket.
    port : int, optional
        Of an ``inet`` socket; None for a ``unix`` socket.
    committee, committee_forces, random_state
        As of :class:`kernpot.engines.ipi.Evaluation`.

    Raises
    ------
    KernpotError
        i-PI is not installed or not listening, or the connection is lost.
    StructureError, ModelFileError
        The files cannot be used; said before anything is asked of i-PI.
    """
    Evaluation.of_files(model, template, committee, committee_forces, random_state)
    driver = _driver()
    settings = {
        "model": os.path.abspath(model),
        "template": os.path.abspath(template),
        "committee": committee,
        "committee_forces": committee_forces,
        "random_state": random_state,
    }
    command = [sys.executable, driver, "-m", "custom", "-P", str(Path(__file__).with_name("pes.py")), "-a", address]
    command += ["-u"] if port is None else ["-p", str(port)]
    command += ["-o", ",".join(f"{name}={value}" for name, value in settings.items())]
    code, said = run_child(command, stderr=subprocess.PIPE)
    if code:
        where = f"the unix socket {address!r}" if port is None else f"{address}:{port}"
        last = said.strip().splitlines()[-1] if said.strip() else f"exit code {code}"
        raise KernpotError(
            f"the client at {where} ended with: {last}. Is i-PI running, with <ffsocket> of this address and mode?"
        )


def _driver() -> str:
    """i-PI's client, which lies beside this Python."""
    beside = Path(sys.executable).parent / "i-pi-py_driver"
    found = str(beside) if beside.exists() else shutil.which("i-pi-py_driver")
    if found is None:
        raise KernpotError(f"a client for i-PI needs i-PI: {_INSTALL}")
    return found

"""The process that runs a calculator for `CalculatorOracle`.

It is started by its path and imports nothing of kernpot, so that it is ready in the time ASE and the calculator take to
import, and neither the user's script nor notebook is run again in it.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from typing import Any, BinaryIO

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

HEADER_BYTES = 8


def send(stream: BinaryIO, message: Any) -> None:
    """Write one message, its length first."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(len(data).to_bytes(HEADER_BYTES, "little") + data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read one message; EOFError when the other side is gone."""
    header = stream.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        raise EOFError
    size = int.from_bytes(header, "little")
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)


def evaluate(calculator: Any, atoms: Atoms) -> dict[str, Any]:
    """What an ASE calculator says of a frame, unchecked: energy (eV), forces (eV/A), stress (eV/A^3) or None.

    The energy is the one that the forces are the derivative of, where the calculator has it: with smeared occupations
    the free energy, not the energy extrapolated to no smearing. Constraints do not touch forces.
    """
    frame = atoms.copy()
    frame.set_constraint()
    frame.calc = calculator
    forces = np.array(frame.get_forces(apply_constraint=False), dtype=np.float64)
    try:
        energy = frame.get_potential_energy(force_consistent=True)
    except NotImplementedError:  # also from calculators that were written without ASE's own class
        energy = frame.get_potential_energy()
    stress = None
    if all(frame.pbc):
        try:
            stress = np.array(frame.get_stress(apply_constraint=False), dtype=np.float64)
        except PropertyNotImplementedError:
            stress = None
    return {"energy": float(energy), "forces": forces, "stress": stress}


def main() -> None:
    """Build the calculator that the first message describes, then answer frames until the asking process is gone."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    requests = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    _print_into(os.devnull)  # whatever a code prints must not end up among the answers
    faulthandler.enable()
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    sys.path[:], factory, reuse = receive(requests)
    threading.Thread(target=_listen, args=(requests, inbox), daemon=True).start()
    try:
        build = pickle.loads(factory)
        calculator = build()
    except Exception as error:
        send(answers, ("error", _in_words(error)))
        return
    send(answers, ("ready", str(getattr(calculator, "directory", "."))))
    while True:
        directory, atoms = inbox.get()
        os.chdir(directory)
        _print_into("output.txt")
        try:
            calculator = calculator or build()
            answer: tuple[str, Any] = ("labels", evaluate(calculator, atoms))
            calculator = calculator if reuse else None
        except Exception as error:
            traceback.print_exc()
            answer = ("error", _in_words(error))
        sys.stdout.flush()
        sys.stderr.flush()
        send(answers, answer)


def _listen(requests: BinaryIO, inbox: queue.SimpleQueue[Any]) -> None:
    """Pass requests on; when the asking process is gone, end this one with all that it started."""
    try:
        while True:
            inbox.put(receive(requests))
    finally:
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def _print_into(path: str) -> None:
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(target, stream)
    os.close(target)


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


if __name__ == "__main__":
    main()

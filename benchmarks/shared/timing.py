"""Clocks: CPU time of evaluations taken in turns, and time and memory of whole processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ase import Atoms

from benchmarks.shared import smoke
from benchmarks.shared.results import ROOT

# Every evaluation is of atoms moved by this much (Angstrom), so that nothing is answered from memory.
_MOVE = 0.01
# One sample is as many evaluations as take this long, seconds.
_SAMPLE = 0.1
_MOST = 40

Evaluate = Callable[[Atoms], Any]


class Clock:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Seconds so far."""
        return {"wall_s": time.perf_counter() - self._wall, "cpu_s": time.process_time() - self._cpu}


def spread(values: list[float]) -> dict[str, float]:
    """Median and range of repetitions."""
    return {"median": float(np.median(values)), "min": min(values), "max": max(values), "repetitions": len(values)}


def by_calculator(calculator: Any) -> Evaluate:
    """Energy, forces and (in three periodic directions) stress through an ASE calculator."""

    def evaluate(atoms: Atoms) -> Any:
        wanted = ["energy", "forces", "stress"] if all(atoms.pbc) else ["energy", "forces"]
        calculator.calculate(atoms, wanted, ["positions"])
        return calculator.results

    return evaluate


def _sample(evaluate: Evaluate, atoms: Atoms, n: int, rng: np.random.Generator, clock: Callable[[], float]) -> float:
    """Milliseconds per atom of one evaluation, averaged over ``n`` on differently moved atoms."""
    total = 0.0
    for _ in range(n):
        moved = atoms.copy()
        moved.positions += rng.normal(0, _MOVE, moved.positions.shape)
        start = clock()
        evaluate(moved)
        total += clock() - start
    return 1e3 * total / (n * len(atoms))


def interleaved(
    evaluations: Mapping[str, tuple[Evaluate, Atoms]],
    repetitions: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Milliseconds per atom of each evaluation in each repetition, the evaluations taking turns.

    A busy neighbour on the machine then slows all of them alike, and the ratio within a repetition can be trusted.
    """
    rng = np.random.default_rng(0)
    counts = {}
    for name, (evaluate, atoms) in evaluations.items():
        _sample(evaluate, atoms, 1, rng, clock)  # compiles, fills caches, builds lists
        seconds = _sample(evaluate, atoms, 1, rng, clock) * len(atoms) / 1e3
        counts[name] = int(np.clip(np.ceil(_SAMPLE / max(seconds, 1e-9)), 1, _MOST))
    times: dict[str, list[float]] = {name: [] for name in evaluations}
    for _ in range(repetitions):
        for name, (evaluate, atoms) in evaluations.items():
            times[name].append(_sample(evaluate, atoms, counts[name], rng, clock))
    return times


def ratios(times: Mapping[str, list[float]], numerator: str, denominator: str) -> dict[str, float]:
    """Spread of the ratio of two codes, taken within each repetition."""
    return spread([a / b for a, b in zip(times[numerator], times[denominator], strict=True)])


def run_process(command: list[str]) -> dict[str, float]:
    """Run a command to its end; wall and CPU seconds and peak resident memory (GB) of the process.

    Raises
    ------
    SystemExit
        When it fails, with the end of what it printed.
    """
    environment = os.environ | thread_limits()
    start = time.perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}:\n{printed[-2000:]}")
    return {
        "wall_s": time.perf_counter() - start,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_memory_GB": usage.ru_maxrss / 1e6,
    }


def thread_limits(threads: int = 1) -> dict[str, str]:
    """Environment variables that hold the linear algebra of every code to a number of threads."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))


def python(module: str, *arguments: Any) -> list[str]:
    """Command that runs a module with this interpreter, small where this is a smoke run; its folder must be `ROOT`."""
    return [sys.executable, "-m", module, *map(str, arguments), *smoke.option()]

"""What a worker process adds to a calculator: time per frame of CalculatorOracle beside the calculator itself.

    python -m benchmarks learning oracles            # some seconds

A calculator of about a millisecond (GFN2-xTB, water) shows the overhead, and the answers of all modes are compared.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule

from benchmarks.shared.command_line import nothing
from benchmarks.shared.results import write_result
from benchmarks.shared.smoke import Smoke
from kernpot.dynamics.oracles import CalculatorOracle, calculator_factory

N_FRAMES = 200
N_REPEATS = 5
SMOKE = Smoke({"N_FRAMES": 4, "N_REPEATS": 1})


def frames() -> list[Atoms]:
    """Rattled water."""
    made = [molecule("H2O") for _ in range(N_FRAMES)]
    for seed, atoms in enumerate(made):
        atoms.rattle(0.05, seed=seed)
    return made


def seconds(work: Any) -> float:
    """Best time of several, in seconds: others share the machine."""
    best = np.inf
    for _ in range(N_REPEATS):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return float(best)


def main(arguments: Sequence[str]) -> None:
    """Measure, store and print."""
    nothing("learning oracles", __doc__, arguments)
    factory = calculator_factory("tblite", method="GFN2-xTB")
    asked = frames()

    def directly() -> None:
        calculator = factory()
        for atoms in asked:
            frame = atoms.copy()
            frame.calc = calculator
            frame.get_forces()
            frame.get_potential_energy()

    modes: dict[str, dict[str, Any]] = {
        "in this process": {"isolate": False},
        "a worker": {},
        "a worker, same calculator": {"reuse": True},
        "a worker, time-out": {"timeout": 60.0},
        "two workers": {"n_workers": 2},
    }
    result: dict[str, Any] = {"n_frames": N_FRAMES, "direct_ms": 1e3 * seconds(directly) / N_FRAMES, "modes": {}}
    reference: np.ndarray | None = None
    for name, options in modes.items():
        with CalculatorOracle(factory, **options) as oracle:
            start = time.perf_counter()
            list(oracle.answers(asked[:1]))
            first = time.perf_counter() - start
            energies = _energies(oracle.answers(asked))
            reference = energies if reference is None else reference
            result["modes"][name] = {
                "first_answer_ms": 1e3 * first,
                "frame_ms": 1e3 * seconds(lambda oracle=oracle: list(oracle.answers(asked))) / N_FRAMES,
                "largest_energy_difference": float(np.abs(energies - reference).max()),
            }
    write_result("learning/oracles", result)
    print(f"{'directly':26s} {result['direct_ms']:8.2f} ms a frame")
    for name, measured in result["modes"].items():
        print(f"{name:26s} {measured['frame_ms']:8.2f} ms a frame, first answer {measured['first_answer_ms']:.0f} ms")


def _energies(answers: Iterable[tuple[int, Any]]) -> np.ndarray:
    found = dict(answers)
    return np.array([found[index].energy for index in range(len(found))])

"""Any ASE calculator as an oracle."""

from __future__ import annotations

import contextlib
import queue
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cloudpickle
from ase import Atoms

from kernpot.dynamics.oracles.describe import describe_factory
from kernpot.dynamics.oracles.labels import Labels, checked_labels, prepared
from kernpot.dynamics.oracles.process import WorkerProcess
from kernpot.dynamics.oracles.worker import evaluate
from kernpot.errors import OracleError, OracleFailure, ParameterError
from kernpot.parameters import is_real, is_whole


class CalculatorOracle:
    """Label frames with any ASE calculator, in processes that may crash, hang or lose their way without harm.

    A frame whose calculation raises, crashes, runs out of time or gives numbers that cannot be used is tried again in a
    new process; after `retries` more attempts its answer is an `OracleFailure` that says why. The energy is the one
    that forces are the derivative of (``force_consistent=True``): with smeared occupations that is the free energy.

    Processes stay from call to call. Every frame gets a new calculator and a folder of its own: answers do not depend
    on what was asked before, so that a run that was interrupted goes on as if it had not been; and relative paths in
    the calculator's settings do not work.

    Parameters
    ----------
    calculator_factory : callable
        Builds the calculator: ``lambda: TBLite(verbosity=0)``, ``functools.partial(EMT)`` or what `calculator_factory`
        gives. It runs in the worker processes: functions of a script or a notebook are sent there as they are, with the
        values that they use; functions of modules are imported there.
    n_workers : int
        Frames that are computed at the same time. The cores are shared out among them through ``OMP_NUM_THREADS`` and
        its relatives, unless those are set.
    timeout : float, optional
        Seconds for one attempt at one frame, after which the process and all that it started are killed.
    retries : int
        Further attempts at a frame after the first.
    reuse : bool
        True keeps the calculator of a process from frame to frame: for those that take long to build, or that start
        from the last wave function. Answers may then depend, within their convergence threshold, on what was asked
        before.
    isolate : bool
        False computes in this process instead: for calculators that take milliseconds, write no files and do not crash.
        There is then no `timeout`, one worker, and no protection.
    scratch : str or Path, optional
        Folder for the calculators' files. Those of frames that failed, with what the code printed in ``output.txt``,
        are kept there. By default a temporary folder that is removed.

    Raises
    ------
    ValueError
        A number out of range, or options that need `isolate`.
    OracleError
        `calculator_factory` is not a callable that can be sent to another process; from `answers`: it fails there.

    Notes
    -----
    Not to be used by several threads at once. ``close()``, the end of a ``with`` block or of the program end the
    processes; they end by themselves, with what they started, when the asking process is killed.
    """

    def __init__(
        self,
        calculator_factory: Callable[[], Any],
        *,
        n_workers: int = 1,
        timeout: float | None = None,
        retries: int = 1,
        reuse: bool = False,
        isolate: bool = True,
        scratch: str | Path | None = None,
    ) -> None:
        if not callable(calculator_factory):
            raise OracleError(
                f"calculator_factory: expected a callable that builds the calculator, got {calculator_factory!r}; write"
                " lambda: TBLite(...), not TBLite(...)."
            )
        seconds = timeout is None or (is_real(timeout) and timeout > 0)
        if not is_whole(n_workers, 1) or not is_whole(retries, 0) or not seconds:
            raise ParameterError(
                "expected n_workers of at least 1, retries of at least 0 and a positive timeout in seconds, got"
                f" n_workers={n_workers}, retries={retries}, timeout={timeout}."
            )
        if not isolate and (n_workers != 1 or timeout is not None or scratch is not None):
            raise ParameterError(
                "n_workers, timeout and scratch need worker processes; leave them out, or isolate=False."
            )
        self.calculator_factory = calculator_factory
        self.n_workers = n_workers
        self.timeout = timeout
        self.retries = retries
        self.reuse = reuse
        self.isolate = isolate
        self.scratch = scratch
        self._factory = _pickled(calculator_factory) if isolate else b""
        self._calculator: Any = None
        self._resources = contextlib.ExitStack()
        self._workers: list[WorkerProcess] = []
        weakref.finalize(self, self._resources.close)

    def answers(self, frames: Sequence[Atoms]) -> Iterator[tuple[int, Labels | OracleFailure]]:
        """See `Oracle.answers`."""
        todo: list[tuple[int, Atoms]] = []
        for index, frame in enumerate([prepared(atoms) for atoms in frames]):
            if isinstance(frame, OracleFailure):
                yield index, frame
            else:
                todo.append((index, frame))
        if self.isolate:
            yield from self._in_workers(todo)
        else:
            for index, atoms in todo:
                yield index, self._answer(atoms, self._label_here)

    def describe(self) -> dict[str, Any]:
        """See `Oracle.describe`."""
        return {"oracle": type(self).__name__, **describe_factory(self.calculator_factory)}

    def close(self) -> None:
        """End the worker processes and remove temporary files; the oracle starts anew when it is asked again."""
        self._workers = []
        self._calculator = None
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _in_workers(self, todo: list[tuple[int, Atoms]]) -> Iterator[tuple[int, Labels | OracleFailure]]:
        waiting: queue.SimpleQueue[tuple[int, Atoms]] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[int, Labels | OracleFailure | Exception]] = queue.SimpleQueue()
        for job in todo:
            waiting.put(job)

        def drive(process: WorkerProcess) -> None:
            with contextlib.suppress(queue.Empty):
                while True:
                    index, atoms = waiting.get_nowait()
                    try:
                        done.put((index, self._answer(atoms, lambda frame: process.label(frame, self.timeout))))
                    except Exception as error:
                        done.put((index, error))

        # daemons, since a generator that is left alive must not keep the program from ending
        drivers = [
            threading.Thread(target=drive, args=(process,), daemon=True) for process in self._running()[: len(todo)]
        ]
        n_left = len(todo)
        try:
            for driver in drivers:
                driver.start()
            while n_left:
                index, answer = done.get()
                if isinstance(answer, Exception) and not isinstance(answer, OracleFailure):
                    raise answer
                n_left -= 1
                yield index, answer
        finally:
            if n_left:  # closed early, interrupted, or an oracle that cannot work at all
                with contextlib.suppress(queue.Empty):
                    while True:
                        waiting.get_nowait()
                self.close()
            for driver in drivers:
                if driver.ident is not None:
                    driver.join()

    def _answer(self, atoms: Atoms, label: Callable[[Atoms], Labels]) -> Labels | OracleFailure:
        for _ in range(self.retries + 1):
            try:
                return label(atoms)
            except OracleFailure as failure:
                last = failure
        return OracleFailure(f"{last} (after {self.retries + 1} attempts)") if self.retries else last

    def _label_here(self, atoms: Atoms) -> Labels:
        if self._calculator is None:
            try:
                self._calculator = self.calculator_factory()
            except Exception as error:
                raise OracleError(f"the calculator cannot be built: {type(error).__name__}: {error}") from error
        calculator, self._calculator = self._calculator, None
        try:
            labels = checked_labels(atoms, **evaluate(calculator, atoms))
        except OracleFailure:
            raise
        except Exception as error:
            raise OracleFailure(f"{type(error).__name__}: {error}") from error
        if self.reuse:  # one that failed is not asked again
            self._calculator = calculator
        return labels

    def _running(self) -> list[WorkerProcess]:
        if not self._workers:
            scratch = self._scratch_folder()
            self._workers = [
                WorkerProcess(
                    self._factory,
                    scratch,
                    reuse=self.reuse,
                    keep=self.scratch is not None,
                    n_workers=self.n_workers,
                )
                for _ in range(self.n_workers)
            ]
            for process in self._workers:
                self._resources.callback(process.close)
        return self._workers

    def _scratch_folder(self) -> Path:
        try:
            if self.scratch is None:
                return Path(self._resources.enter_context(tempfile.TemporaryDirectory(prefix="kernpot-")))
            folder = Path(self.scratch).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        except OSError as error:
            raise OracleError(f"the folder for the calculators' files cannot be made: {error}") from error


def _pickled(factory: Callable[[], Any]) -> bytes:
    try:
        return bytes(cloudpickle.dumps(factory))
    except Exception as error:
        raise OracleError(
            f"calculator_factory: {factory!r} cannot be sent to another process ({error}). Build the calculator inside"
            " it instead of using one that exists, or pass isolate=False."
        ) from error

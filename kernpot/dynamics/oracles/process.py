"""A worker process: started, asked, killed with all that it started, replaced."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import joblib
from ase import Atoms

from kernpot.dynamics.oracles import worker
from kernpot.dynamics.oracles.labels import Labels, checked_labels
from kernpot.errors import OracleError, OracleFailure

START_SECONDS = 600.0
"""A calculator that is not built after this time never will be, in seconds."""

GRACE_SECONDS = 1.0
"""What codes get to end by themselves, and launchers such as mpirun to end their ranks, before they are killed."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerProcess:
    """One process that builds and asks calculators, which lives until it crashes, runs out of time or is closed.

    Parameters
    ----------
    factory : bytes
        Pickled callable that builds the calculator.
    scratch : Path
        Every frame gets a new folder in it.
    reuse : bool
        Whether the calculator stays from frame to frame.
    keep : bool
        Whether folders of frames that failed stay.
    n_workers : int
        How many of these share the machine: each gets its share of the cores, unless the environment says otherwise.
    """

    def __init__(self, factory: bytes, scratch: Path, *, reuse: bool, keep: bool, n_workers: int) -> None:
        self._factory = factory
        self._reuse = reuse
        self._scratch = scratch
        self._keep = keep
        self._n_workers = n_workers
        self._environment = {name: str(max(1, joblib.cpu_count() // n_workers)) for name in THREAD_VARIABLES} | dict(
            os.environ
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()

    def label(self, atoms: Atoms, timeout: float | None) -> Labels:
        """Labels of one frame from the calculator; after any failure the next frame meets a new process.

        Parameters
        ----------
        atoms : ase.Atoms
        timeout : float or None
            Seconds.

        Returns
        -------
        Labels

        Raises
        ------
        OracleFailure
            The calculator raised, crashed, ran out of time or gave numbers that cannot be used.
        OracleError
            The calculator cannot be built.
        """
        self.start()
        try:
            directory = Path(tempfile.mkdtemp(prefix="frame-", dir=self._scratch))
        except OSError as error:
            raise OracleError(
                f"no folder for the calculator's files can be made in {self._scratch}: {error.strerror}. Free some"
                " space, or name another folder with scratch=."
            ) from error
        labels = None
        try:
            labels = self._attempt(atoms, directory, timeout)
        except OracleFailure as failure:
            raise OracleFailure(f"{failure}; its files are in {directory}" if self._keep else str(failure)) from failure
        finally:
            if labels is None:
                self.stop()
            if labels is not None or not self._keep:
                shutil.rmtree(directory, ignore_errors=True)
        return labels

    def start(self) -> None:
        """Make sure that the process runs and has its calculator."""
        with self._lock:
            if self._closed:
                raise OracleFailure("the oracle was closed before this frame was labelled")
            if self._process is not None:
                return
            self._process = subprocess.Popen(
                [sys.executable, "-P", worker.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is ours to handle, and what the code starts can be killed with it
            )
        try:
            kind, content = self._ask(
                ([path or os.getcwd() for path in sys.path], self._factory, self._reuse), START_SECONDS
            )
        except TimeoutError as error:
            self.stop()
            raise OracleError(f"the calculator was not built within {START_SECONDS:g} s.") from error
        except EOFError as error:
            ending = self._ending()
            self.stop()
            raise OracleError(f"the process that builds the calculator crashed: {ending}.") from error
        if kind != "ready":
            self.stop()
            raise OracleError(f"the calculator cannot be built in a worker process: {content}")
        if self._n_workers > 1 and Path(content).is_absolute():
            self.stop()
            raise OracleError(
                f"all {self._n_workers} calculators would write to {content}. Leave the directory out of the"
                " calculator's settings, every frame gets its own; or use n_workers=1."
            )

    def stop(self) -> None:
        """End the process and all that it started; it starts again when it is next needed."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            _end(process)

    def close(self) -> None:
        """End the process for good."""
        with self._lock:
            self._closed = True
        self.stop()

    def _attempt(self, atoms: Atoms, directory: Path, timeout: float | None) -> Labels:
        try:
            kind, content = self._ask((str(directory), atoms), timeout)
        except TimeoutError as error:
            raise OracleFailure(f"no answer within {timeout:g} s") from error
        except EOFError as error:
            raise OracleFailure(f"{self._ending()}{_last_words(directory)}") from error
        if kind == "error":
            raise OracleFailure(content)
        return checked_labels(atoms, **content)

    def _ask(self, message: Any, timeout: float | None) -> tuple[str, Any]:
        process = self._process
        if process is None:
            raise EOFError
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _end(process)

        timer = None if timeout is None else threading.Timer(timeout, expire)
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            worker.send(process.stdin, message)  # type: ignore[arg-type]
            answer = worker.receive(process.stdout)  # type: ignore[arg-type]
        except (OSError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise (TimeoutError if expired.is_set() else EOFError) from error
        finally:
            if timer is not None:
                timer.cancel()
                timer.join()
        if expired.is_set():
            raise TimeoutError
        return answer

    def _ending(self) -> str:
        process = self._process
        if process is None:
            return "the oracle was closed"
        code = process.wait()
        if code >= 0:
            return f"the calculator's process ended with exit code {code}"
        note = " (out of memory?)" if -code == getattr(signal, "SIGKILL", 9) else ""
        return f"the calculator's process was killed by {signal.Signals(-code).name}{note}"


def _last_words(directory: Path, n_lines: int = 3) -> str:
    try:
        printed = (directory / "output.txt").read_text(errors="replace")
    except OSError:
        return ""
    # where Python was when it was killed says nothing that the signal has not
    lines = printed.partition("Fatal Python error")[0].split("\n")
    said = [line.strip() for line in lines if line.strip()][-n_lines:]
    return f", last words: {' / '.join(said)}" if said else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children: ask, wait a moment, kill, reap."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGTERM)
            give_up = time.monotonic() + GRACE_SECONDS
            while time.monotonic() < give_up:
                process.poll()  # a process that nobody has reaped still counts as a member of its group
                os.killpg(process.pid, 0)
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()

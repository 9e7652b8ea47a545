"""Processes that end with the one they work for, however that was ended: nothing else would tell them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")

# Names of the processes that joblib starts by itself.
_OURS = "LokyProcess"
_SECONDS_BETWEEN_LOOKS = 0.5
_watching = threading.Lock()


def attended(parent: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in a process that `parent`, the number of a process, has started; it ends when that has ended.

    Anywhere else, as in the process itself or on another machine, it is the call alone.
    """
    if multiprocessing.current_process().name.startswith(_OURS) and _watching.acquire(blocking=False):
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    return function(*arguments)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)


def run_child(
    command: Sequence[str], env: Mapping[str, str] | None = None, stderr: int | None = None
) -> tuple[int, str]:
    """Run a program to its end; SIGTERM for this process is passed on to it, and ends this one after it.

    Parameters
    ----------
    command : sequence of str
    env : mapping of str to str, optional
    stderr : int, optional
        ``subprocess.PIPE`` to have what it says.

    Returns
    -------
    code : int
    said : str
        On stderr, if that was asked for.

    Raises
    ------
    SystemExit
        With the shell's code for the signal.
    """
    told, child = False, None

    def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal told
        told = True
        if child is not None:
            child.terminate()

    here = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, pass_on) if here else None
    try:
        with subprocess.Popen(command, env=env, stderr=stderr, text=True) as child:
            if told:
                child.terminate()
            try:
                said = child.communicate()[1]
            except BaseException:
                child.terminate()
                raise
    finally:
        if here:
            signal.signal(signal.SIGTERM, before)
    if told:
        raise SystemExit(128 + signal.SIGTERM)
    return child.returncode, said or ""

"""Processes that were started end with the one that started them, however that was ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from kernpot.parallel.attended import run_child

ROOT = Path(__file__).resolve().parents[2]
WORKERS = """
import os, sys, time
from kernpot.parallel.processes import in_processes

def work(folder, k):
    open(os.path.join(folder, str(os.getpid())), "w").close()
    time.sleep(100 if k else 0)

list(in_processes(work, [(sys.argv[1], k) for k in range(4)], 2))
"""


def wait_until(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    give_up = time.monotonic() + seconds
    while not true() and time.monotonic() < give_up:
        time.sleep(0.05)
    return true()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.wrong_input("Runs", "a signal that ends a program whose work is spread over processes", "read right")
def test_workers_end_with_the_program_they_work_for(tmp_path: Path, how: int) -> None:
    script, folder = tmp_path / "script.py", tmp_path / "pids"
    script.write_text(WORKERS)
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(script), str(folder)], env=environment) as parent:
        try:
            assert wait_until(lambda: len(list(folder.iterdir())) == 2)
            parent.send_signal(how)
            parent.wait(timeout=30)
        finally:
            parent.kill()
    pids = [int(file.name) for file in folder.iterdir()]
    assert wait_until(lambda: not any(map(psutil.pid_exists, pids)), 10)


@pytest.mark.wrong_input("Runs", "SIGTERM to a command that has started another program", "read right")
def test_sigterm_is_passed_on_to_a_program(tmp_path: Path) -> None:
    said = tmp_path / "said"
    work = (
        "import pathlib, signal, sys, time\n"
        "def note(*_): pathlib.Path(sys.argv[1]).write_text('told'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, note); pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    )

    def end() -> None:
        if wait_until(said.exists):
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=end)
    thread.start()
    with pytest.raises(SystemExit) as ended:
        run_child([sys.executable, "-S", "-c", work, str(said)])
    thread.join()
    assert ended.value.code == 143 and said.read_text() == "told" and signal.getsignal(signal.SIGTERM) is before


def test_a_program_that_ends_by_itself_gives_its_code_and_what_it_said() -> None:
    work = "import sys; print('no', file=sys.stderr); sys.exit(7)"
    assert run_child([sys.executable, "-S", "-c", work], stderr=subprocess.PIPE) == (7, "no\n")

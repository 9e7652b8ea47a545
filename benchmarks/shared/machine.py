"""What a measurement was made on, and how fast that machine multiplies matrices and moves memory."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

_PACKAGES = ("kernpot", "torch", "numba", "numpy", "scipy", "dscribe", "vesin", "ase", "quippy-ase", "mir-flare")


def describe() -> dict[str, Any]:
    """CPU, caches, threads, versions, and how busy the machine was."""
    return {
        "cpu": _lscpu("Model name"),
        "cores": os.cpu_count(),
        "caches": {name: _lscpu(f"{name} cache") for name in ("L1d", "L2", "L3")},
        "memory_GB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "blas": re.findall(r"BLAS_INFO=(\w+)", torch.__config__.show()),
        "threads": torch.get_num_threads(),
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "date": time.strftime("%Y-%m-%d"),
    }


def rates() -> dict[str, float]:
    """Floating-point and memory rates of one thread: the ceilings of a roofline.

    Returns
    -------
    dict
        ``dgemm`` (matrix product), ``trsm`` (triangular solve) and ``qr`` in GFLOP/s, ``memory`` in GB/s (copy of
        arrays far larger than the last-level cache, reads and writes counted).
    """
    generator = torch.Generator().manual_seed(0)
    n = 1500
    a, b = (torch.randn((n, n), dtype=torch.float64, generator=generator) for _ in range(2))
    triangle = torch.tril(a) + n * torch.eye(n, dtype=torch.float64)
    tall = torch.randn((3 * n, n), dtype=torch.float64, generator=generator)
    large = torch.zeros(1 << 25, dtype=torch.float64)
    target = torch.empty_like(large)
    return {
        "dgemm": 2e-9 * n**3 / _best(lambda: a @ b),
        "trsm": 1e-9 * n**3 / _best(lambda: torch.linalg.solve_triangular(triangle, b, upper=False)),
        "qr": 1e-9 * (2 * 3 * n**3 - 2 * n**3 / 3) / _best(lambda: torch.linalg.qr(tall, mode="r")),
        "memory": 2e-9 * 8 * len(large) / _best(lambda: target.copy_(large)),
    }


def _best(work: Callable[[], Any], repetitions: int = 5) -> float:
    """CPU seconds, the best of several."""
    times = []
    for _ in range(repetitions + 1):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times[1:])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _lscpu(field: str) -> str:
    try:
        text = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # not Linux
        return platform.processor() or "unknown"
    found = re.search(rf"^{re.escape(field)}:\s*(.*)$", text, flags=re.M)
    return found.group(1) if found else "unknown"

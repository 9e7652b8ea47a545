"""How much memory there is for this process, and refusals of work that would need more.

Kernels grant memory that is not there and kill the process that touches it, so large work is estimated before it is
begun: what a control group (a container, a batch job) or ``ulimit -v`` leaves counts, not only what the machine has.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kernpot.errors import MemoryLimitError

# Work that needs less is not looked at: asking the system costs more than it.
_SMALL = 256 * 2**20


def require_memory(needed: float, what: str, remedy: str) -> None:
    """Refuse work that needs more memory than there is.

    Parameters
    ----------
    needed : float
        Estimate, bytes.
    what : str
        Begins the sentence: what needs it.
    remedy : str
        What to do instead, a sentence.

    Raises
    ------
    MemoryLimitError
        With the estimate, the limit and the remedy.
    """
    if needed <= _SMALL:
        return
    free = available()
    if free is not None and needed > free:
        raise MemoryLimitError(f"{what} needs about {_told(needed)} of memory, {_told(free)} are available. {remedy}")


def available() -> int | None:
    """Bytes that this process can still take; None where the system does not tell."""
    known = [limit for limit in (_of_machine(), _of_control_group(), _of_process()) if limit is not None]
    return max(min(known), 0) if known else None


def _of_machine() -> int | None:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    try:  # where nothing tells what is free: all there is
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _of_control_group(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """What the groups this process is in leave, of either version; those above it count as well."""
    left = []
    for line in _text(own).splitlines():
        number, controllers, place = line.split(":", 2)
        if number == "0":
            top, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # In a container the path is that of the host, and the group itself is at the top.
        parts = Path(place.lstrip("/")).parts
        for folder in (top.joinpath(*parts[:n]) for n in range(len(parts) + 1)):
            limit, used = (_text(folder / name).strip() for name in names[:2])
            if limit.isdigit() and used.isdigit():
                left.append(int(limit) - int(used) + _cached(folder, names[2]))
    return min(left) if left else None


def _cached(folder: Path, name: str) -> int:
    """Bytes of files in memory, which the system gives up when they are wanted."""
    for line in _text(folder / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return 0


def _of_process() -> int | None:
    """What is left of the limit on addresses (``ulimit -v``)."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    size = _text(Path("/proc/self/statm")).split()
    if limit == resource.RLIM_INFINITY or not size:
        return None
    return limit - int(size[0]) * os.sysconf("SC_PAGE_SIZE")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _told(size: float) -> str:
    for unit in ("MB", "GB", "TB"):
        size /= 1000 if unit != "MB" else 1e6
        if size < 1000:
            return f"{size:.3g} {unit}"
    return f"{size:.3g} TB"

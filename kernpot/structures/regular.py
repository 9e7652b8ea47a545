"""Whether a path names an ordinary file of a size that can be read: pipes never end, devices are not ours to touch."""

from __future__ import annotations

import stat
from pathlib import Path

from kernpot.errors import KernpotError
from kernpot.parallel.memory import available

_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def special(path: Path) -> str | None:
    """What a path is, in words, if neither a file, a folder nor free.

    Raises
    ------
    OSError
        The path cannot be followed to its end, for example because links lead round in circles.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _SPECIAL.get(stat.S_IFMT(mode))


def require_readable(path: Path, error: type[KernpotError], most_bytes: int | None = None) -> None:
    """Refuse, before it is opened, what would not end, or would not fit into memory. What is not there is let pass.

    Parameters
    ----------
    path : Path
    error : type of KernpotError
        What to raise.
    most_bytes : int, optional
        Largest size. The memory there is, if not given.
    """
    try:
        kind = special(path)
        size = path.stat().st_size if path.is_file() else 0
    except OSError as reason:
        raise error(f"cannot read {path}: {reason.strerror}; check the path and its links.") from None
    if kind is not None:
        raise error(f"{path} is {kind}, expected a file; write what it gives into a file first.")
    limit = available() if most_bytes is None else most_bytes
    if limit is not None and size > limit:
        held = "there is memory for" if most_bytes is None else "such a file may have"
        raise error(
            f"{path} has {size / 1e9:.3g} GB, more than the {limit / 1e9:.3g} GB that {held}; is it the right file?"
        )

"""Files that appear complete or not at all, and never in the place of something that is not theirs to replace."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from kernpot.errors import KernpotError
from kernpot.structures.regular import special

# Begins the names of files that are being written; then machine, process and a random part. Short, whatever the file
# is called: names have a greatest length, which the file's own may just keep.
_PREFIX, _SUFFIX = ".kernpot-", ".tmp"


class WriteError(KernpotError, OSError):
    """Something at a path is not to be replaced; the message says what, and what to do."""


def destination(path: Path) -> Path:
    """Where writing to a path ends: links are followed.

    Raises
    ------
    WriteError
        There is a folder, a device, a pipe or a read-only file, or the links lead nowhere.
    """
    try:
        kind = special(path)
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        mode = target.stat().st_mode if target.exists() else None
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror}; choose another name") from None
    if kind is not None:
        raise WriteError(f"{path} is {kind}, which is not replaced; choose the name of a file")
    if mode is not None and stat.S_ISDIR(mode):
        raise WriteError(f"{path} is a folder; give the name of a file in it")
    # Of root, too, who may write anywhere: whoever made the file read-only meant it.
    if mode is not None and not (mode & 0o222 and os.access(target, os.W_OK)):
        raise WriteError(f"{path} is read-only; choose another name, or make it writable first (chmod u+w)")
    return target


def replace_file(path: Path, content: bytes | str) -> None:
    """Write a file that appears complete or not at all, and is on the disk when this returns.

    Links are followed, the permissions of an old file are kept, and what processes that died have left of files they
    were writing in the same folder is removed.

    Raises
    ------
    WriteError
        As of :func:`destination`.
    OSError
        The disk refuses; an old file is then as it was.
    """
    target = destination(path)
    clear_left(target.parent)
    scratch = target.with_name(f"{_PREFIX}{_machine()}-{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}")
    try:
        with scratch.open("xb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        if target.exists():
            scratch.chmod(stat.S_IMODE(target.stat().st_mode))
        os.replace(scratch, target)
    finally:
        # Where it could not be made there is nothing to remove, and what was wrong is being told.
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def clear_left(folder: Path) -> None:
    """Remove what processes of this machine that died have left of files they were writing."""
    for left in folder.glob(f"{_PREFIX}{_machine()}-*{_SUFFIX}"):
        process = left.name.removeprefix(_PREFIX).split("-")[1]
        if process.isdigit() and not _runs(int(process)):
            with suppress(OSError):
                left.unlink()


def _machine() -> str:
    """Short name of this machine: a folder may be shared with others, whose processes cannot be seen."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _runs(process: int) -> bool:
    if os.name == "nt":
        return True  # there is no asking there that does no harm
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

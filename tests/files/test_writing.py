"""Writing replaces files, and nothing else that may be at a path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernpot.files.writing import WriteError, replace_file


def test_a_link_stays_a_link_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file, link, way = tmp_path / "elsewhere" / "file", tmp_path / "link", tmp_path / "way"
    file.write_text("old")
    file.chmod(0o640)
    way.symlink_to(file)
    link.symlink_to("way")
    replace_file(link, "new")
    assert link.is_symlink() and way.is_symlink() and not file.is_symlink()
    assert file.read_text() == "new" and file.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == ["file"]


def test_a_link_to_what_is_not_there_yet_makes_it(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    replace_file(tmp_path / "link", b"new")
    assert (tmp_path / "file").read_bytes() == b"new" and (tmp_path / "link").is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="files of this kind are of Unix")
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("read-only", "is read-only"),
        ("link to a read-only file", "is read-only"),
        ("pipe", "is a named pipe, which is not replaced"),
        ("device", "is a device, which is not replaced"),
        ("folder", "is a folder"),
        ("loop", "Too many levels of symbolic links"),
    ],
)
@pytest.mark.wrong_input("Files", "a read-only file, a pipe or a device in the place of a result", "refused")
def test_what_is_no_file_to_replace_is_left_alone(tmp_path: Path, kind: str, told: str) -> None:
    path, kept = tmp_path / "there", tmp_path / "kept"
    kept.write_text("old")
    kept.chmod(0o444)
    if kind == "read-only":
        path = kept
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"device": "/dev/null", "loop": "there"}.get(kind, "kept"))
    before = os.lstat(path)
    with pytest.raises(WriteError, match=told):
        replace_file(path, "new")
    assert os.lstat(path).st_ino == before.st_ino and kept.read_text() == "old"
    assert {p.name for p in tmp_path.iterdir()} == {"kept", path.name}


@pytest.mark.skipif(os.name == "nt", reason="processes cannot be asked after")
@pytest.mark.wrong_input("Files", "what a killed process has left half written", "read right")
def test_what_a_dead_process_has_left_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    replace_file(file, "old")
    dead = subprocess.Popen([sys.executable, "-S", "-c", ""])
    dead.wait()
    names: list[str] = []
    original = os.replace

    def killed(scratch: Path, target: Path) -> None:
        names.append(Path(scratch).name)
        original(scratch, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", killed)
        replace_file(file, "new")
    left = names[0].replace(f"-{os.getpid()}-", f"-{dead.pid}-")
    assert left != names[0]
    (tmp_path / left).write_text("half")
    (tmp_path / names[0]).write_text("of a process that still writes")
    replace_file(file, "newer")
    assert {p.name for p in tmp_path.iterdir()} == {"file", names[0]} and file.read_text() == "newer"

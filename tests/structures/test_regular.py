"""What would not end, or not fit into memory, is refused before it is read."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

from kernpot.errors import ModelFileError, StructureError
from kernpot.files.container import read_model
from kernpot.structures import read_structures, regular

HUGE = 50 * 10**9


@pytest.mark.skipif(os.name == "nt", reason="files of this kind are of Unix")
@pytest.mark.parametrize(
    ("kind", "told"),
    [("pipe", "is a named pipe"), ("device", "is a device"), ("sparse", "has 50 GB, more than"), ("loop", "links")],
)
@pytest.mark.wrong_input("Files", "a pipe, a device or a file larger than memory", "refused")
def test_what_cannot_be_read_to_its_end_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, told: str
) -> None:
    monkeypatch.setattr(regular, "available", lambda: 2 * 10**9)
    path = tmp_path / "odd.xyz"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(HUGE)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "odd.xyz")
    start = time.perf_counter()
    with pytest.raises(ModelFileError, match=told):
        read_model(path)
    with pytest.raises(StructureError, match="no such file" if kind == "loop" else told):
        read_structures(path)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("name", ["a.xyz", "a.xyz.gz", "a.extxyz"])
@pytest.mark.parametrize(("count", "number"), [("999999999", 0), ("9" * 40, 0), ("999999999", 2)])
@pytest.mark.wrong_input("Files", "an xyz file that announces more atoms than follow", "refused")
def test_a_frame_that_announces_more_than_follows(tmp_path: Path, name: str, count: str, number: int) -> None:
    whole = tmp_path / "whole.xyz"
    write(whole, [bulk("Cu", cubic=True)] * 2)
    text = (whole.read_bytes() if number else b"") + f"{count}\nenergy=1\nCu 0 0 0\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    with pytest.raises(StructureError, match=rf"{name}#{number}: cannot be read, it announces 9{{9,20}} atoms"):
        read_structures(tmp_path / name)


@pytest.mark.wrong_input("Files", "a structure file that holds zero bytes", "refused")
def test_a_file_of_zeros_is_no_text(tmp_path: Path) -> None:
    with (tmp_path / "a.xyz").open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(StructureError, match="got one with zero bytes"):
        read_structures(tmp_path / "a.xyz")

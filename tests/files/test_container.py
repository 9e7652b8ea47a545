"""The model file: exact round trip, and a clear error for every file that cannot be trusted."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from kernpot.errors import ModelFileError
from kernpot.files import container as storage
from kernpot.files.container import load, read_model, write_model

HEADER = {"kind": "SparseGPPotential", "zeta": 2, "noise": {"energy": 0.1 + 0.2}, "elements": {14: -1.5, 8: 1e-300}}
TENSORS = {"root": np.linspace(0, 1, 12).reshape(3, 4), "numbers": np.array([14, 8], dtype=np.int64)}


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "si.kernpot"
    write_model(path, HEADER, TENSORS)
    return path


def rewrite(path: Path, change) -> None:
    """Write the file again with its header changed, as an editor or a later kernpot would."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["kernpot"])
    tensors = safetensors.numpy.load(content)
    change(header, tensors)
    path.write_bytes(safetensors.numpy.save(tensors, metadata={"kernpot": json.dumps(header)}))


def test_round_trip_is_exact(model_file: Path) -> None:
    header, tensors = read_model(model_file)
    assert header["noise"]["energy"] == 0.1 + 0.2
    assert header["elements"] == {"14": -1.5, "8": 1e-300}
    assert header["schema_version"] == 1 <= storage.SCHEMA_VERSION and header["versions"]["numpy"] == np.__version__
    assert tensors.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(tensors[name], array)


def test_non_contiguous_tensor_keeps_its_values(tmp_path: Path) -> None:
    array = np.arange(12.0).reshape(3, 4).T[::2]
    write_model(tmp_path / "a.kernpot", HEADER, {"a": array})
    np.testing.assert_array_equal(read_model(tmp_path / "a.kernpot")[1]["a"], array)


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.05, 0.3, 0.9, 0.999])
def test_truncated(model_file: Path, fraction: float) -> None:
    content = model_file.read_bytes()
    model_file.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(ModelFileError, match=r"truncated|not a kernpot model|damaged"):
        read_model(model_file)


def test_half_a_file_is_called_truncated_not_foreign(model_file: Path) -> None:
    content = model_file.read_bytes()
    model_file.write_bytes(content[:200])
    with pytest.raises(ModelFileError, match=r"truncated.*copy it again"):
        read_model(model_file)


def test_every_flipped_byte_is_noticed(model_file: Path) -> None:
    content = bytearray(model_file.read_bytes())
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1
        model_file.write_bytes(damaged)
        with pytest.raises(ModelFileError):
            read_model(model_file)


def test_edited_header_and_edited_tensor_are_noticed(model_file: Path) -> None:
    rewrite(model_file, lambda header, _: header.update(zeta=4))
    with pytest.raises(ModelFileError, match="changed or damaged"):
        read_model(model_file)
    write_model(model_file, HEADER, TENSORS)
    rewrite(model_file, lambda _, tensors: tensors.update(root=tensors["root"] + 1e-12))
    with pytest.raises(ModelFileError, match="changed or damaged"):
        read_model(model_file)


def test_newer_schema(model_file: Path) -> None:
    rewrite(model_file, lambda header, _: header.update(schema_version=99))
    with pytest.raises(ModelFileError, match=r"schema version 99.*upgrade kernpot"):
        read_model(model_file)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x95pickle",
        b"3\ncomment\nH 0 0 0\n" * 20,
        safetensors.numpy.save({"a": np.zeros(3)}),
        safetensors.numpy.save({"a": np.zeros(3)}, metadata={"kernpot": "[1, 2]"}),
        safetensors.numpy.save({"a": np.zeros(3)}, metadata={"kernpot": "{}"}),
        safetensors.numpy.save({"a": np.zeros(3)}, metadata={"kernpot": "{not json"}),
        b"\xff" * 64,
    ],
    ids=["pickle", "xyz", "other safetensors", "list", "empty header", "bad json", "huge length"],
)
def test_foreign(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.kernpot"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="not a kernpot model"):
        read_model(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no model file at .*kernpot fit"):
        load(tmp_path / "absent.kernpot")
    with pytest.raises(ModelFileError, match="cannot read"):
        load(tmp_path)
    with pytest.raises(ModelFileError, match=r"cannot write .*folder exists"):
        write_model(tmp_path / "no" / "folder.kernpot", HEADER, TENSORS)


def test_unknown_kind_asks_for_an_upgrade(tmp_path: Path) -> None:
    write_model(tmp_path / "a.kernpot", {"kind": "Oracle"}, TENSORS)
    with pytest.raises(ModelFileError, match=r"kind 'Oracle'.*upgrade"):
        load(tmp_path / "a.kernpot")


@pytest.mark.parametrize("header", [{"kind": "X", "a": float("nan")}, {"kind": "X", "a": object()}, {"zeta": 2}])
def test_unusable_header_is_refused(tmp_path: Path, header: dict) -> None:
    with pytest.raises(ModelFileError, match="header"):
        write_model(tmp_path / "a.kernpot", header, TENSORS)
    assert list(tmp_path.iterdir()) == []


def test_failed_write_keeps_the_old_model_and_leaves_nothing(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = model_file.read_bytes()

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ModelFileError, match="No space left"):
        write_model(model_file, HEADER, {"root": np.zeros(3)})
    assert model_file.read_bytes() == before
    assert list(model_file.parent.iterdir()) == [model_file]


@pytest.mark.parametrize("path", [None, 5, b"m.kernpot", "", ".", "/", "a\0b"])
def test_what_is_no_path_is_refused(path: Any) -> None:
    expected = r"expected the path of a model file, such as 'model\.kernpot', got "
    for use in (load, read_model, lambda p: write_model(p, HEADER, TENSORS)):
        with pytest.raises(ModelFileError, match=expected + re.escape(repr(path))):
            use(path)


def test_a_file_in_the_place_of_a_folder(model_file: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot write .*si\.kernpot/x: Not a directory; check the name"):
        write_model(model_file / "x", HEADER, TENSORS)
    with pytest.raises(ModelFileError, match=r"cannot read .*si\.kernpot/x: Not a directory"):
        load(model_file / "x")


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with pytest.raises(ModelFileError, match=r"is a folder; give the name of a file in it"):
        write_model(tmp_path / "m", HEADER, TENSORS)
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_names_that_are_as_long_as_can_be_and_longer(tmp_path: Path) -> None:
    path = tmp_path / ("m" * 250)
    write_model(path, HEADER, TENSORS)
    assert read_model(path)[0]["zeta"] == 2 and list(tmp_path.iterdir()) == [path]
    for use in (read_model, lambda p: write_model(p, HEADER, TENSORS)):
        with pytest.raises(ModelFileError, match=r"cannot (read|write) .*: File name too long"):
            use(tmp_path / ("m" * 300))


@pytest.mark.wrong_input("Model files", "a number in the header damaged to one that is infinite", "refused")
def test_a_number_that_damage_has_made_infinite(model_file: Path) -> None:
    content = model_file.read_bytes()
    model_file.write_bytes(
        content.replace(b"1e-300", b"1e+308").replace(b"0.30000000000000004", b"0e300000000000000e4")
    )
    with pytest.raises(ModelFileError):
        read_model(model_file)
    model_file.write_bytes(content.replace(b"1e-300", b"1e9300"))
    with pytest.raises(ModelFileError, match="changed or damaged"):
        read_model(model_file)


@pytest.mark.wrong_input("Model files", "a model file with more bytes than it should have", "refused")
def test_what_follows_after_the_end_is_not_read(model_file: Path) -> None:
    with model_file.open("r+b") as file:
        file.truncate(10**9)
    with pytest.raises(ModelFileError, match=r"is damaged: 99999.... bytes follow after its end"):
        read_model(model_file)

"""The header line of an extended-xyz frame, in the dialects of other programs, put into the words that ASE reads.

ASE knows ``Lattice``, ``Properties`` and ``pbc`` in this spelling alone, and an entry without a value swallows the one
that follows it. Headers that ASE reads rightly stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from kernpot.errors import StructureError

LABEL_NAMES = ("energy", "free_energy", "forces", "force", "stress", "virial", "virials")
"""Names that labels have by themselves; other programs write them in any case."""

_STRUCTURAL = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}
_COLUMNS = {"species": "species", "pos": "pos", "z": "Z"}
_FLAGS = {**dict.fromkeys(("t", "true", "1", "p"), "T"), **dict.fromkeys(("f", "false", "0"), "F")}
_CLOSING = {'"': '"', "'": "'", "{": "}", "[": "]"}

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_KEY = re.compile(r"[\s,=]*(?:\"([^\"=]+)\"(?=\s*=)|([^\s=]+))")
_EQUALS = re.compile(r"\s*=\s*")
_WORD = re.compile(r"\S*")
_CELL_KEY = re.compile(
    r"(?:unit_?|sim(?:ulation)?_?)?(?:cell|box|lattice)(?:_?(?:vectors?|matrix|parameters?|lengths?|size|dimensions?))?"
)
_CELL_IN_WORDS = re.compile(rf"\b(?:cell|lattice|box)\b[^\s=]*(?:[\s:,]+{_NUMBER}){{3}}", re.IGNORECASE)
_KNOWN_ENTRY = re.compile(rf"\b(?:{'|'.join([*_STRUCTURAL, *LABEL_NAMES])})\s*=", re.IGNORECASE)


class _Entry(NamedTuple):
    key: str
    value: str | None
    plain: bool  # whether ASE takes the same value from the same characters


def readable_header(line: str, source: str) -> str:
    """A header that ASE reads as it was meant.

    Parameters
    ----------
    line : str
        Without the end of the line.
    source : str
        How messages name the frame.

    Returns
    -------
    str
        The line itself where nothing is to be done.

    Raises
    ------
    StructureError
        What looks like a cell, like periodicity or like several entries in one, and cannot be understood.
    """
    entries = _entries(line, source) if "=" in line else []
    names = [_STRUCTURAL.get(entry.key.lower(), entry.key) for entry in entries]
    _refuse_contradictions(names, entries, source)
    if "Lattice" not in names and "pbc" not in names:
        _refuse_other_cells(line, entries, source)
    values = [_value(name, entry, source) for name, entry in zip(names, entries, strict=True)]
    read = [_Entry(name, value, plain=True) for name, value in zip(names, values, strict=True)]
    if read == entries:
        return line
    return " ".join(_written(entry) for entry in read if entry.value != "")


def _entries(line: str, source: str) -> list[_Entry]:
    found: list[_Entry] = []
    at = 0
    while match := _KEY.match(line, at):
        key, at = match.group(1) or match.group(2), match.end()
        equals = _EQUALS.match(line, at)
        value, plain = None, not _holds_quote(key)
        if equals is not None:
            value, at, plain = _read_value(line, equals, key, source)
        found.append(_Entry(key, value, plain))
    return found


def _read_value(line: str, equals: re.Match[str], key: str, source: str) -> tuple[str, int, bool]:
    """Value, where it ends, and whether ASE reads the same."""
    start = equals.end()
    if line[start : start + 1] in _CLOSING and line[start:]:
        return _delimited_value(line, start, key, source)
    word = _WORD.match(line, start)
    text = "" if word is None else word.group()
    # in "config_type= energy=-3.2" and "config_type= energy = -3.2" the first value is empty
    spaced = equals.group()[-1].isspace()
    if spaced and ("=" in text or _EQUALS.match(line, start + len(text))):
        return "", start, False
    return text, start + len(text), text != "" and not _holds_quote(text)


def _delimited_value(line: str, start: int, key: str, source: str) -> tuple[str, int, bool]:
    text, end = _delimited(line, start)
    closed = end > 0
    joined = closed and end < len(line) and line[end] not in ", \t\r"
    if (not closed and "=" in line[start:]) or (joined and _KNOWN_ENTRY.search(text)):
        raise StructureError(
            f"{source}: the value of {key!r} swallows entries that follow it ({line[start : start + 40]!r}): a"
            f" {_CLOSING[line[start]]} is missing at its end; add it, or leave the entry out."
        )
    if not closed:
        return line[start:], len(line), False
    return text, end, text != "" and not joined


def _delimited(line: str, start: int) -> tuple[str, int]:
    """Text within quotes or brackets, with escapes undone, and the place behind them; -1 when they do not close."""
    opening, closing = line[start], _CLOSING[line[start]]
    text, depth, at = [], 1, start + 1
    while at < len(line):
        character = line[at]
        if character == "\\" and at + 1 < len(line):
            at += 1
            text.append(line[at])
        else:
            depth += (character == opening != closing) - (character == closing)
            if depth == 0:
                return "".join(text), at + 1
            text.append(character)
        at += 1
    return "", -1


def _holds_quote(text: str) -> bool:
    return any(character in text for character in "\"'{}[]\\")


def _value(name: str, entry: _Entry, source: str) -> str | None:
    if name == "pbc":
        return _flags(entry, source)
    if name == "Properties" and entry.value:
        return _columns(entry.value)
    if entry.value == "" and (name in _STRUCTURAL.values() or name.lower() in LABEL_NAMES):
        raise StructureError(f"{source}: {entry.key!r} has no value in the header; give it, or leave the entry out.")
    return entry.value


def _flags(entry: _Entry, source: str) -> str:
    words = re.findall(r"[^\s,\[\](){}\"']+", (entry.value or "").lower())
    if len(words) == 1 and len(words[0]) == 3:
        words = list(words[0])
    if len(words) not in (1, 3) or any(word not in _FLAGS for word in words):
        raise StructureError(
            f"{source}: {entry.key}={entry.value!r} is not understood; say which directions are periodic, as in"
            ' pbc="T T F".'
        )
    return " ".join(_FLAGS[word] for word in words * (3 // len(words)))


def _columns(properties: str) -> str:
    fields = properties.split(":")
    fields[::3] = [_COLUMNS.get(name.lower(), name) for name in fields[::3]]
    fields[1::3] = [kind.upper() for kind in fields[1::3]]
    return ":".join(fields)


def _written(entry: _Entry) -> str:
    if entry.value is None:
        return entry.key
    escaped = entry.value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{entry.key}="{escaped}"'


def _refuse_contradictions(names: Sequence[str], entries: Sequence[_Entry], source: str) -> None:
    given: dict[str, str] = {}
    for name, entry in zip(names, entries, strict=True):
        known = name in _STRUCTURAL.values() or name in LABEL_NAMES
        if known and entry.value is not None and given.setdefault(name, entry.value) != entry.value:
            raise StructureError(f"{source}: the header gives {name!r} twice, with different values; leave one out.")


def _refuse_other_cells(line: str, entries: Sequence[_Entry], source: str) -> None:
    cells = [
        entry.key
        for entry in entries
        if _CELL_KEY.fullmatch(entry.key.lower())
        and len(numbers := re.findall(_NUMBER, entry.value or "")) in (3, 6, 9)
        and any(map(float, numbers))
    ]
    in_words = _CELL_IN_WORDS.search(line)
    if cells or in_words:
        found = cells[0] if cells else in_words and in_words.group()
        raise StructureError(
            f"{source}: {found!r} looks like a cell, but no cell is read from it; write the three cell vectors one"
            ' after the other as Lattice="ax ay az bx by bz cx cy cz", in Angstrom, or pbc="F F F" where the structure'
            " is not periodic."
        )

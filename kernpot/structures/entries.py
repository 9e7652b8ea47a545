"""The entries ``name=value`` of an extended-xyz header, also where ASE would let one swallow the next."""

from __future__ import annotations

import re
from typing import NamedTuple

from kernpot.errors import StructureError

STRUCTURAL = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}
"""Entries that make the structure: names in small letters, and as ASE knows them."""

_KEY = re.compile(r"[\s,=]*(?:\"([^\"=]+)\"(?=\s*=)|([^\s=]+))")
_EQUALS = re.compile(r"\s*=\s*")
_WORD = re.compile(r"\S*")
_CLOSING = {'"': '"', "'": "'", "{": "}", "[": "]", "(": ")"}
_KNOWN_ENTRY = re.compile(r"\b(lattice|properties|pbc|energy|free_energy|forces)\s*=", re.IGNORECASE)
_REMARKS = ("comment", "note", "remark", "title", "description")


class Entry(NamedTuple):
    """One entry of a header.

    Attributes
    ----------
    key : str
    value : str or None
        Without quotes or brackets; None of a word that stands alone.
    plain : bool
        Whether ASE takes the same value from the same characters.
    """

    key: str
    value: str | None
    plain: bool


def header_entries(line: str, source: str) -> list[Entry]:
    """Entries of a header, in order.

    Raises
    ------
    StructureError
        A quote or bracket does not close, or closes an entry or more too late.
    """
    found: list[Entry] = []
    at = 0
    while match := _KEY.match(line, at):
        written, at = match.group(1) or match.group(2), match.end()
        key = written.strip("\"'") or written
        equals = _EQUALS.match(line, at)
        value, plain = None, True
        if equals is not None:
            value, at, plain = _read_value(line, equals, key, source)
        found.append(Entry(key, value, plain and key == written and not _holds_quote(key)))
    known = {entry.key.lower() for entry in found}
    for entry in found:
        name = _KNOWN_ENTRY.search(entry.value or "")
        if name and name.group(1).lower() not in known and entry.key.lower() not in _REMARKS:
            raise _swallows(entry.key, entry.value or "", source)
    return found


def header_of(entries: list[Entry]) -> str:
    """A header of which ASE reads the entries; those without a value have none to be read."""
    return " ".join(_written(entry) for entry in entries if entry.value != "")


def _written(entry: Entry) -> str:
    key = re.sub(r"([\"'{}\[\]\\])", r"\\\1", entry.key)
    if entry.value is None:
        return key
    escaped = entry.value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}="{escaped}"'


def _read_value(line: str, equals: re.Match[str], key: str, source: str) -> tuple[str, int, bool]:
    """Value, where it ends, and whether ASE reads the same."""
    start = equals.end()
    opening = line[start : start + 1]
    if opening in _CLOSING and (opening != "(" or key.lower() in STRUCTURAL):
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
        raise _swallows(key, line[start:], source)
    if not closed:
        return line[start:], len(line), False
    return text, end, text != "" and not joined and line[start] != "("


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


def _swallows(key: str, text: str, source: str) -> StructureError:
    return StructureError(
        f"{source}: the value of {key!r} swallows entries that follow it ({text[:40]!r}): a quote or bracket is missing"
        " at its end; add it, or leave the entry out. (A remark that holds such words may be called comment=.)"
    )

"""The header line of an extended-xyz frame, in the dialects of other programs, put into the words that ASE reads.

ASE knows ``Lattice``, ``Properties`` and ``pbc`` in this spelling alone, and an entry without a value swallows the one
that follows it. Headers that ASE reads rightly stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kernpot.errors import StructureError
from kernpot.structures.entries import STRUCTURAL, Entry, header_entries, header_of

LABEL_NAMES = ("energy", "free_energy", "forces", "force", "stress", "virial", "virials")
"""Names that labels have by themselves; other programs write them in any case."""

_COLUMNS = {
    "species": ("species", "element", "elements", "symbol", "symbols"),
    "pos": ("pos", "position", "positions", "coordinates", "coords"),
    "Z": ("z",),
}
_FLAGS = {**dict.fromkeys(("t", "true", "1", "p"), "T"), **dict.fromkeys(("f", "false", "0"), "F")}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_CELL_KEY = re.compile(r"(?!.*(super|repeat|grid|index|shift|origin|offset)).*(cell|box|lattice).*")
_CELL_IN_WORDS = re.compile(rf"\b(?:cell|lattice|box)\b[^\s=]*(?:[\s:,]+{_NUMBER}){{3}}", re.IGNORECASE)
_PERIODICITY_KEY = re.compile(r"pbcs|pbc[_:].*|periodic(ity|_.*)?|boundary.*")


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
    entries = header_entries(line, source) if "=" in line else []
    names = [STRUCTURAL.get(entry.key.lower(), entry.key) for entry in entries]
    _refuse_contradictions(names, entries, source)
    if "pbc" not in names:
        periodic = "Lattice" in names
        _refuse_other_periodicity(entries, periodic, source)
        if not periodic:
            _refuse_other_cells(line, entries, source)
    values = [_value(name, entry, source) for name, entry in zip(names, entries, strict=True)]
    read = [Entry(name, value, plain=True) for name, value in zip(names, values, strict=True)]
    return line if read == entries else header_of(read)


def _value(name: str, entry: Entry, source: str) -> str | None:
    if name == "pbc":
        flags = _flags(entry.value)
        if flags is None:
            raise StructureError(
                f"{source}: {entry.key}={entry.value!r} is not understood; say which directions are periodic, as in"
                ' pbc="T T F".'
            )
        return flags
    if name == "Properties" and entry.value:
        return _columns(entry.value)
    if entry.value == "" and (name in STRUCTURAL.values() or name.lower() in LABEL_NAMES):
        raise StructureError(f"{source}: {entry.key!r} has no value in the header; give it, or leave the entry out.")
    return entry.value


def _flags(text: str | None) -> str | None:
    """``T`` and ``F`` of three directions, None where the text does not say so."""
    words = re.findall(r"[^\s,\[\](){}\"']+", (text or "").lower())
    if len(words) == 1 and len(words[0]) == 3:
        words = list(words[0])
    if len(words) not in (1, 3) or any(word not in _FLAGS for word in words):
        return None
    return " ".join(_FLAGS[word] for word in words * (3 // len(words)))


def _columns(properties: str) -> str:
    fields = properties.rstrip(",").split(":")
    names = fields[::3]
    for ours, theirs in _COLUMNS.items():
        synonyms = [name for name in names if name.lower() in theirs]
        if len(synonyms) == 1 and not (ours == "species" and "Z" in names):
            names[names.index(synonyms[0])] = ours
    fields[::3] = names
    fields[1::3] = [kind.upper() for kind in fields[1::3]]
    return ":".join(fields)


def _refuse_contradictions(names: Sequence[str], entries: Sequence[Entry], source: str) -> None:
    given: dict[str, str] = {}
    for name, entry in zip(names, entries, strict=True):
        known = name in STRUCTURAL.values() or name in LABEL_NAMES
        if known and entry.value is not None and given.setdefault(name, entry.value) != entry.value:
            raise StructureError(f"{source}: the header gives {name!r} twice, with different values; leave one out.")


def _refuse_other_periodicity(entries: Sequence[Entry], periodic: bool, source: str) -> None:
    for entry in entries:
        flags = _flags(entry.value) if entry.value else None
        if _PERIODICITY_KEY.fullmatch(entry.key.lower()) and flags != ("T T T" if periodic else "F F F"):
            raise StructureError(
                f"{source}: {entry.key!r} looks like periodicity, but is not read; say which directions are periodic,"
                ' as in pbc="T T F".'
            )


def _refuse_other_cells(line: str, entries: Sequence[Entry], source: str) -> None:
    cells = [
        entry.key
        for entry in entries
        if _CELL_KEY.fullmatch(entry.key.lower())
        and len(numbers := re.findall(_NUMBER, entry.value or "")) in (3, 6, 9)
        and any(map(float, numbers))
    ]
    in_words = _CELL_IN_WORDS.search(line)
    lengths = {"a", "b", "c"} <= {entry.key.lower() for entry in entries if entry.value}
    if cells or in_words or lengths:
        found = cells[0] if cells else in_words.group() if in_words else "a, b, c"
        raise StructureError(
            f"{source}: {found!r} looks like a cell, but no cell is read from it; write the three cell vectors one"
            ' after the other as Lattice="ax ay az bx by bz cx cy cz", in Angstrom, or pbc="F F F" where the structure'
            " is not periodic."
        )

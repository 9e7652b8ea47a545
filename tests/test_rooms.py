"""Rooms import only rooms that lie before them in the data flow."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "kernpot"
# Modules beside the rooms count as rooms of their own.
ORDER = [
    "errors",
    "tails",
    "progress",
    "compilation",
    "structures",
    "descriptors",
    "kernels",
    "functionals",
    "prediction",
    "potential",
    "storage",
    "gp",
    "nnp",
    "uncertainty",
    "calculator",
    "dynamics",
    "testing",
    "properties",
    "comparison",
    "engines",
    "report",
    "cli",
]


def imported_rooms(path: Path) -> set[str]:
    """Rooms of kernpot that a module imports at its top level."""
    rooms = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("kernpot."):
            rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            rooms |= {name.name.split(".")[1] for name in node.names if name.name.startswith("kernpot.")}
    return rooms


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if room_of(p) != "__init__")


def test_every_room_has_its_place():
    assert {room_of(p) for p in MODULES} == set(ORDER)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_earlier_rooms(path):
    place = ORDER.index(room_of(path))
    later = {room for room in imported_rooms(path) if room in ORDER and ORDER.index(room) > place}
    assert not later, f"{path.name} imports {sorted(later)}, which come after {room_of(path)}"

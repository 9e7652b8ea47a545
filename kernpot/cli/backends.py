"""Backends by the names that commands and files of settings give them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import yaml

from kernpot.errors import KernpotError
from kernpot.files.container import backend_class, backends

GP, NNP = "gp", "nnp"
_OURS = {GP: "SparseGPPotential", NNP: "NNPEnsemble"}
# Made of other potentials, in Python.
_COMPOSED = {"OnTop"}


def names() -> list[str]:
    """What `potential_class` knows: short names of ours, and those of installed packages."""
    return [*_OURS, *(name for name in backends() if name not in {*_OURS, *_OURS.values(), *_COMPOSED})]


def potential_class(name: str) -> Any:
    """The class of a backend.

    Raises
    ------
    KernpotError
        None that is installed has that name, or it cannot be imported.
    """
    if name not in names():
        raise KernpotError(
            f"backend: expected one of {', '.join(names())}, got {name!r}; a backend of another package is there once "
            "that package is installed"
        )
    return backend_class(_OURS.get(name, name))


def unfitted(name: str, shared: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """A potential with these parameters: of those that backends share, the ones that it has.

    Raises
    ------
    KernpotError
        It has no such parameter, or wants others.
    """
    backend = potential_class(name)
    known = inspect.signature(backend).parameters
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise KernpotError(f"the backend {name} has no parameters {unknown}, expected some of {', '.join(known)}")
    with refusals(f"the backend {name} cannot be made of {dict(settings)}"):
        return backend(**({key: value for key, value in shared.items() if key in known} | dict(settings)))


@contextmanager
def fitting(name: str) -> Iterator[None]:
    """Where a backend of another package refuses its parameters, in `fit` as scikit-learn asks, that is one message."""
    if name in _OURS:  # they raise errors of kernpot's own: anything else is a bug, which the command line says
        yield
        return
    with refusals(f"the backend {name} cannot be fitted"):
        yield


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Errors by which Python code refuses a parameter, as one of kernpot's."""
    try:
        yield
    except KernpotError:
        raise
    except (TypeError, ValueError) as error:
        raise KernpotError(f"{what}: {error}") from error


def parsed_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Parameters from ``name=value``, values read as YAML reads them.

    Raises
    ------
    KernpotError
        A text is of another form.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            found[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not equals or not name.strip().isidentifier():
            raise KernpotError(f"expected a parameter such as alpha=0.1, got {text!r}")
    return found

"""What a calculator factory computes with, for a run's provenance."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def describe_factory(factory: Callable[[], Any]) -> dict[str, Any]:
    """Name, settings and versions of what a factory builds, in types that JSON knows.

    A factory with a method ``describe()`` speaks for itself; a ``functools.partial`` is named with its arguments; of a
    function or a lambda only the name is known.
    """
    if hasattr(factory, "describe"):
        return dict(factory.describe())
    if isinstance(factory, functools.partial):
        built: Any = factory.func
        settings: dict[Any, Any] = {**dict(enumerate(factory.args)), **factory.keywords}
    else:
        built, settings = factory, {}
    module = str(getattr(built, "__module__", type(built).__module__))
    name = str(getattr(built, "__qualname__", type(built).__qualname__))
    return {
        "calculator": f"{module}.{name}",
        "settings": json_ready(settings),
        "versions": versions("ase", module.partition(".")[0], *getattr(built, "computed_by", ())),
    }


def versions(*packages: str) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def json_ready(settings: Any) -> Any:
    """Settings as JSON gives them back: tuples as lists, keys as text, and what JSON does not know as its repr."""
    return json.loads(json.dumps(_text_keys(settings), default=repr))


def _text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _text_keys(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_text_keys(entry) for entry in value]
    return value

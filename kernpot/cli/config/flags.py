"""A file of settings with the names of a command's options: what it says takes the place of their defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from kernpot.cli.config.messages import nearest, shown
from kernpot.cli.config.reading import ConfigError, parse, read_text

_SUFFIXES = (".yaml", ".yml")
# Arguments and options that are files.
_PATHS = ("train", "output", "checkpoint")


def files_or_settings(context: typer.Context, given: list[Path]) -> list[Path]:
    """Files of a command's argument; a single YAML file names them, beside options of the command.

    Options that are given on the command line take precedence. Paths are relative to the file.

    Raises
    ------
    ConfigError
        The file cannot be read, has a key that is no option, or a value of another form.
    """
    if len(given) != 1 or given[0].suffix.lower() not in _SUFFIXES:
        return given
    path = given[0]
    data, lines = parse(read_text(path, "give the structures and options there"), path.name)
    argument, options = _named(context)
    names = [*argument, *options]
    values: dict[str, Any] = {}
    for key, value in data.items():
        name, where = str(key).replace("_", "-"), f"{path.name}, line {lines[str(key),]}: {key}"
        if name not in names:
            near = nearest(name, names, "-")
            hint = f" Did you mean {near}?" if near else ""
            raise ConfigError(f"{where}: there is no such key.{hint} Keys here: {', '.join(names)}.")
        if value is not None:
            parameter = argument.get(name) or options[name]
            if parameter.name in values:
                raise ConfigError(f"{where}: given twice, with - and with _; leave one of them out.")
            values[parameter.name] = _value(parameter, value, path.parent, where)
    files = values.pop(next(iter(argument.values())).name, None)
    if not files:
        raise ConfigError(
            f"{path.name}: {next(iter(argument))} is missing; expected a file with structures, or a list."
        )
    context.default_map = {**(context.default_map or {}), **values}
    return [Path(file) for file in files]


def _named(context: typer.Context) -> tuple[dict[str, Any], dict[str, Any]]:
    """The argument and the options by the names that a file gives them."""
    parameters = context.command.params
    argument = {str(p.name): p for p in parameters if p.param_type_name == "argument"}
    options = {
        max(p.opts, key=len).lstrip("-"): p for p in parameters if p.param_type_name == "option" and p.name != "help"
    }
    return argument, options


def _value(parameter: Any, value: Any, place: Path, where: str) -> Any:
    """A value as a command line would have it: text for all but flags, paths relative to the file."""
    several = bool(getattr(parameter, "multiple", False)) or parameter.nargs == -1
    if getattr(parameter, "is_flag", False):
        if not isinstance(value, bool):
            raise ConfigError(f"{where}: expected true or false, got {shown(value)}.")
        return value
    if isinstance(value, Mapping) and several:
        value = [f"{name}={_text(part, where)}" for name, part in value.items()]
    texts = [_text(part, where) for part in (value if isinstance(value, Sequence) and not _is_text(value) else [value])]
    if parameter.name in _PATHS:
        texts = [str(place / Path(text).expanduser()) for text in texts]
    return texts if several else ",".join(texts)


def _text(value: Any, where: str) -> str:
    if value is None or isinstance(value, bool | Mapping) or (isinstance(value, Sequence) and not _is_text(value)):
        raise ConfigError(f"{where}: expected a number or text, got {shown(value)}.")
    return str(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)

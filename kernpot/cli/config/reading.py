"""Reading a file of settings: YAML with the line of every key, nothing executed, every mistake in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kernpot.cli.config.messages import Place, path_of, sentences
from kernpot.cli.config.schema import LearnConfig
from kernpot.errors import KernpotError
from kernpot.structures.regular import require_readable

# Settings have a few hundred keys and bytes by the thousand; aliases of aliases (*) make any number of a few lines.
_MOST_BYTES, _MOST_KEYS = 10_000_000, 100_000


class ConfigError(KernpotError, ValueError):
    """A file of settings cannot be used; the message names the line and the key."""


def read_config(path: Path) -> LearnConfig:
    """Read and check a file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ConfigError
        With one line for each mistake.
    """
    text = read_text(path, f"write one with: kernpot learn {path} --init")
    data, lines = parse(text, path.name)
    try:
        return LearnConfig.model_validate(data)
    except ValidationError as error:
        found = sentences(error, LearnConfig, lines, path.name)
        raise ConfigError("\n".join(found)) from None


def read_text(path: Path, instead: str) -> str:
    """The text of a file, or ConfigError; `instead` says what to do where there is none."""
    require_readable(path, ConfigError, _MOST_BYTES)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; {instead}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text in UTF-8 ({error}); save it in this encoding") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def parse(text: str, name: str) -> tuple[Any, dict[Place, int]]:
    """What the text says, and the line of each key."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[Place, int] = {}
        if root is not None:
            _note_lines(root, (), lines, name)
        data = yaml.safe_load(text)
    except RecursionError:
        raise ConfigError(
            f"{name}: nested too deeply, or an alias (*) refers to the part it stands in; write that part out"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}, line {mark.line + 1}" if mark else name
        reason = getattr(error, "problem", None) or str(error)
        raise ConfigError(
            f"{where}: not YAML ({reason}); check the indentation (spaces, no tabs) and that every key ends in ': '"
        ) from None
    if not isinstance(data, dict):
        got = "nothing" if data is None else type(data).__name__
        raise ConfigError(f"{name}: expected keys and values (structures: ..., oracle: ...), got {got}")
    return data, lines


def _note_lines(node: yaml.Node, place: Place, lines: dict[Place, int], name: str) -> None:
    """Note where each key is; PyYAML itself would let the second of two equal keys win without a word."""
    if len(lines) > _MOST_KEYS:
        raise ConfigError(
            f"{name}: more than {_MOST_KEYS} keys and values, aliases (*) written out; no run has so many settings"
        )
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            line = key.start_mark.line + 1
            if inner in lines:
                raise ConfigError(f"{name}, line {line}: {path_of(inner)} is given twice, first in line {lines[inner]}")
            lines[inner] = line
            _note_lines(value, inner, lines, name)
    elif isinstance(node, yaml.SequenceNode):
        for k, value in enumerate(node.value):
            lines[*place, k] = value.start_mark.line + 1
            _note_lines(value, (*place, k), lines, name)

"""Mistakes in a file of settings, in sentences: where, what was expected, what is there, what may have been meant."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

Place = tuple[int | str, ...]


def sentences(error: ValidationError, model: type[BaseModel], lines: Mapping[Place, int], name: str) -> list[str]:
    """One sentence for each mistake, in the order of the file.

    Parameters
    ----------
    error : ValidationError
        What pydantic found.
    model : type
        The model of the whole file.
    lines : mapping of tuple to int
        Line number of each key by its place, e.g. ``("dynamics", 0, "steps")``.
    name : str
        Name of the file.
    """
    problems = error.errors(include_url=False)
    meant = {_meant(problem, model) for problem in problems}
    found = []
    for problem in problems:
        place = (*problem["loc"], *problem.get("ctx", {}).get("place", ()))
        if problem["type"] == "missing" and place in meant:
            continue  # it is there, misspelt
        line = _line(place, lines)
        where = f"{name}, line {line}: " if line else f"{name}: "
        found.append((line, where + _sentence(problem, place, model)))
    return [text for _, text in sorted(found, key=lambda pair: pair[0])]


def _meant(problem: Mapping[str, Any], model: type[BaseModel]) -> Place | None:
    """The place that a key nobody knows was probably meant for, in its own section."""
    place = tuple(problem["loc"])
    if problem["type"] != "extra_forbidden":
        return None
    near = nearest(str(place[-1]), _look_up(place, model)[0].model_fields)
    return None if near is None else (*place[:-1], near)


def _sentence(problem: Mapping[str, Any], place: Place, model: type[BaseModel]) -> str:
    path, kind = path_of(place), problem["type"]
    section, field = _look_up(place, model)
    if kind == "sentence":
        return f"{path}: {problem['msg']}."
    if kind == "extra_forbidden":
        return f"{path}: there is no such key. {_suggestion(str(place[-1]), section, model)}"
    expected = field.description if field is not None and field.description else "something else"
    if kind == "missing":
        return f"{path} is missing; expected {expected}."
    return f"{path}: expected {expected}, got {shown(problem['input'])}."


def path_of(place: Place) -> str:
    """A place as people write it: ``dynamics[1].steps`` is a key of the first entry."""
    text = ""
    for part in place:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"


def shown(value: Any) -> str:
    """A value, cut short."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _suggestion(wrong: str, section: type[BaseModel], model: type[BaseModel]) -> str:
    """A key of the same section that looks alike, or else of another one."""
    elsewhere = {path.rsplit(".")[-1]: path for path in reversed(_paths(model))}
    near = nearest(wrong, section.model_fields) or elsewhere.get(nearest(wrong, elsewhere) or "")
    meant = f"Did you mean {near}? " if near else ""
    return f"{meant}Keys here: {', '.join(section.model_fields)}."


def nearest(wrong: str, known: Iterable[str], joint: str = "_") -> str | None:
    """The name that looks most like a wrong one, if any does; `joint` is what joins words in names."""
    plain = wrong.lower().replace("-", joint).replace("_", joint)
    return next(iter(difflib.get_close_matches(plain, list(known), 1, 0.6)), None)


def _paths(model: type[BaseModel], before: str = "") -> list[str]:
    """All keys of a model and of the sections in it."""
    found = []
    for name, field in model.model_fields.items():
        found.append(before + name)
        inner = _section_in(field.annotation)
        if inner is not None:
            found += _paths(inner, f"{before}{name}.")
    return found


def _line(place: Place, lines: Mapping[Place, int]) -> int:
    """Line of the place, or of the nearest section around it; 0 where there is none."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 0)


def _look_up(place: Place, model: type[BaseModel]) -> tuple[type[BaseModel], FieldInfo | None]:
    """The section that the last key of a place belongs to, and what is known of that key."""
    section: type[BaseModel] = model
    inner: type[BaseModel] | None = model
    field: FieldInfo | None = None
    for part in place:
        if isinstance(part, int):
            continue
        if inner is None:
            break
        section, field = inner, inner.model_fields.get(part)
        inner = _section_in(field.annotation) if field is not None else None
    return section, field


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a key holds, alone or in a list, or none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, tuple, Union, types.UnionType):
        return next((found for part in get_args(annotation) if (found := _section_in(part)) is not None), None)
    return None

"""Features from a function, which no file holds: what it gives for a structure tells whether it is the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from kernpot.descriptors import Features, features_from_dict, features_of
from kernpot.errors import DescriptorError, NotInFileError

# Of the largest feature: what rounding on another machine may change.
_SAME = 1e-6


def described(features: Sequence[Features], structures: Sequence[Atoms]) -> list[dict[str, Any]]:
    """Features as plain data; those of a function with what it gives for the smallest structure."""
    found = []
    for f in features:
        data = f.to_dict()
        if data.get("function") is not None and structures:
            atoms = min(structures, key=len)
            data["example"] = {
                "numbers": atoms.numbers.tolist(),
                "positions": atoms.positions.tolist(),
                "cell": atoms.cell.array.tolist(),
                "pbc": atoms.pbc.tolist(),
                "sum": f(atoms).sum(0).tolist(),
            }
        found.append(data)
    return found


def features_again(data: Sequence[Mapping[str, Any]], given: Any) -> tuple[Features, ...]:
    """Features as stored; or as given again, where they are the same.

    Parameters
    ----------
    data : sequence of mapping
        What :func:`described` told.
    given : descriptor, or sequence of them, or None

    Raises
    ------
    NotInFileError
        They have to be given again, or what was given is something else.
    """
    if given is None:
        return tuple(features_from_dict(dict(d)) for d in data)
    listed = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    try:
        again = tuple(features_of(f) for f in listed)
    except DescriptorError as error:
        raise NotInFileError(f"descriptor=: {error}") from error
    if len(again) != len(data):
        raise NotInFileError(f"descriptor=: the model has {len(data)} descriptors, got {len(again)}; give all of them.")
    for f, stored in zip(again, data, strict=True):
        _require_same(f, stored)
    # What a file does hold it holds to the last bit.
    return tuple(
        f if stored.get("function") is not None else features_from_dict(dict(stored))
        for f, stored in zip(again, data, strict=True)
    )


def _require_same(features: Features, stored: Mapping[str, Any]) -> None:
    """Settings must be equal, and functions give the same; their names may differ, as a script is not a module."""
    apart = {"function", "example", "basis"}  # a radial basis follows from settings, but for rounding
    told, expected = ({k: v for k, v in d.items() if k not in apart} for d in (features.to_dict(), stored))
    if told != expected:
        raise NotInFileError(f"descriptor= does not tell of the same features: {told} instead of {expected}")
    if (example := stored.get("example")) is None:
        return
    atoms = Atoms(example["numbers"], example["positions"], cell=example["cell"], pbc=example["pbc"])
    found, want = features(atoms).sum(0), np.array(example["sum"])
    if found.shape != want.shape or np.abs(found - want).max() > _SAME * max(float(np.abs(want).max()), 1e-12):
        raise NotInFileError(
            f"descriptor= does not tell of the same features: the function gives others for {atoms.symbols} than "
            f"{stored['function']} gave when the model was saved; give the function of the fit."
        )

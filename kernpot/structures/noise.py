"""Noise levels: which labels share one, and which the user fixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kernpot.errors import ParameterError, StructureError
from kernpot.structures.kinds import KINDS, LABEL_KINDS
from kernpot.structures.labels import LabelledStructure

LEAST, LARGEST = 1e-8, 1e8
"""Bounds of a noise level that is given, in the unit of its kind: beyond them sums of labels lose all their digits."""


@dataclass(frozen=True)
class NoiseModel:
    """Standard deviation of the misfit of each label kind: what is given stays fixed, None is optimised.

    Labels of one kind share a noise level (a *group*), unless `config_type` gives a configuration type its own. On top,
    ``atoms.info["noise_scale"]`` multiplies the level of a single structure.

    Parameters
    ----------
    energy : float, optional
        eV per atom.
    forces : float, optional
        eV/Angstrom, per component.
    stress : float, optional
        eV/Angstrom^3, per component.
    config_type : mapping of str to mapping, optional
        Own levels of configuration types, e.g. ``{"Surface": {"forces": 0.1, "energy": None}}``: forces of surfaces
        get the fixed level 0.1 eV/Angstrom and their energies an optimised level of their own.
    others : mapping of str to float, optional
        Levels of further kinds of labels (:mod:`kernpot.structures.kinds`), by name.

    Raises
    ------
    ParameterError
        A level that is not a number from 1e-8 to 1e8, or an unknown label kind.
    """

    energy: float | None = None
    forces: float | None = None
    stress: float | None = None
    config_type: Mapping[str, Mapping[str, float | None]] | None = None
    others: Mapping[str, float | None] | None = None

    def __post_init__(self) -> None:
        if self.others is not None:
            _check_levels("noise: others", self.others)
        _check_levels("noise", self._levels())
        if self.config_type is not None and not isinstance(self.config_type, Mapping):
            raise ParameterError(f"noise: config_type must map names to levels, got {type(self.config_type).__name__}")
        for name, levels in (self.config_type or {}).items():
            _check_levels(f"noise of config_type {name!r}", levels)

    @classmethod
    def from_user(cls, noise: NoiseModel | Mapping[str, Any] | None) -> NoiseModel:
        """Model from what an estimator's `noise` parameter may be: None, a mapping of the parameters, or a model."""
        if noise is None:
            return cls()
        if isinstance(noise, cls):
            return noise
        if not isinstance(noise, Mapping):
            raise ParameterError(
                f"noise must be None, a mapping such as {{'energy': 0.001}}, or a NoiseModel, got {noise!r}"
            )
        unknown = sorted(set(noise) - {*KINDS, "config_type", "others"}, key=str)
        if unknown:
            raise ParameterError(f"noise has unknown keys {unknown}, expected some of {', '.join(KINDS)}, config_type")
        others = noise.get("others") or {}
        _check_levels("noise: others", others)
        others = {**others, **{k: v for k, v in noise.items() if k in KINDS and k not in LABEL_KINDS}}
        own = {name: value for name, value in noise.items() if name in (*LABEL_KINDS, "config_type")}
        return cls(**own, others=others or None)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NoiseModel:
        """Model from what :meth:`to_dict` gave."""
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, from which :meth:`from_dict` makes the model again."""
        return {name: value for name, value in asdict(self).items() if name != "others" or value}

    def _levels(self) -> dict[str, float | None]:
        return {kind: getattr(self, kind) for kind in LABEL_KINDS} | dict(self.others or {})

    @property
    def fixed(self) -> dict[str, float]:
        """Noise level of every group whose level was given."""
        levels = self._levels()
        for name, own in (self.config_type or {}).items():
            levels |= {f"{kind}[{name}]": level for kind, level in own.items()}
        return {group: float(level) for group, level in levels.items() if level is not None}

    def group(self, structure: LabelledStructure, kind: str) -> str:
        """Group of one label: the kind, e.g. ``"forces"``, or ``"forces[Surface]"`` where that has its own level."""
        own = (self.config_type or {}).get(structure.config_type, {})
        return f"{kind}[{structure.config_type}]" if kind in own else kind

    def groups(self, labelled: Sequence[LabelledStructure]) -> list[dict[str, str]]:
        """For each structure, the group of every label kind it has."""
        return [{kind: self.group(structure, kind) for kind in structure.kinds} for structure in labelled]

    def require_known(self, labelled: Sequence[LabelledStructure]) -> None:
        """Raise StructureError when a configuration type with its own level occurs in no structure."""
        present = {structure.config_type for structure in labelled}
        absent = sorted(set(self.config_type or {}) - present)
        if absent:
            raise StructureError(
                f"noise gives levels for config_type {absent}, which no structure has; present are"
                f" {sorted(present - {''}) or 'none'}."
            )


def _check_levels(what: str, levels: Any) -> None:
    if not isinstance(levels, Mapping) or set(levels) - set(KINDS):
        raise ParameterError(f"{what}: expected a mapping with keys among {', '.join(KINDS)}, got {levels!r}")
    for kind, level in levels.items():
        number = isinstance(level, (int, float, np.integer, np.floating)) and not isinstance(level, bool)
        if level is not None and not (number and np.isfinite(level) and level > 0):
            raise ParameterError(f"{what}: {kind} must be a positive number, or None to be optimised, got {level!r}")
        if level is not None and not LEAST <= level <= LARGEST:
            raise ParameterError(
                f"{what}: {kind} must lie between {LEAST:g} and {LARGEST:g}, got {level:g}; units are eV/atom, eV/A, "
                "eV/A^3"
            )


def kind_of(group: str) -> str:
    """Label kind of a noise group: ``"forces"`` of ``"forces[Surface]"``."""
    return group.split("[")[0]

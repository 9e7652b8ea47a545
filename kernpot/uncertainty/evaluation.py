"""Compare a potential with labelled structures it has not seen: the raw comparison and its metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from kernpot.errors import StructureError
from kernpot.potential import KnowsClosest, Potential
from kernpot.prediction import ClosePair, Prediction
from kernpot.structures.labels import LabelledStructure, label_structures
from kernpot.structures.missing import warn_of_missing
from kernpot.tails import half_width, normal_score
from kernpot.uncertainty.metrics import Metrics, compute_metrics
from kernpot.uncertainty.scores import FloatArray, standardised, vanishing

ALL = "all"
NO_CONFIG_TYPE = "(none)"
UNITS = {"energy": "meV/atom", "forces": "eV/Å", "stress": "GPa"}
_CHUNK = 8


@dataclass(frozen=True, eq=False)
class Comparison:
    """Labels of one kind beside their predictions, component by component, in the unit of `UNITS`.

    Attributes
    ----------
    kind : str
        ``"energy"`` (per atom), ``"forces"`` or ``"stress"``.
    label, mean, std, epistemic_std : ndarray of shape (n,)
        Label, predicted mean and its standard deviations.
    structure : ndarray of int of shape (n,)
        Index of the structure in the evaluated list.
    config_type : ndarray of str of shape (n,)
        Its `config_type`.
    degrees_of_freedom : float
        Of the tails that were predicted; infinite for Gaussian ones.
    """

    kind: str
    label: FloatArray
    mean: FloatArray
    std: FloatArray
    epistemic_std: FloatArray
    structure: NDArray[np.int64]
    config_type: NDArray[np.str_]
    degrees_of_freedom: float = math.inf

    @property
    def unit(self) -> str:
        """Unit of the four arrays."""
        return UNITS[self.kind]

    @property
    def error(self) -> FloatArray:
        """Predicted mean minus label."""
        return self.mean - self.label

    @property
    def config_types(self) -> list[str]:
        """Names present, sorted."""
        return sorted(set(self.config_type.tolist()))

    @cached_property
    def vanishing(self) -> NDArray[np.bool_]:
        """Components that vanish by symmetry: calibration is not judged by them."""
        return vanishing(self.label, self.mean, self.epistemic_std)

    @property
    def judged(self) -> Comparison:
        """The comparison without the components that vanish by symmetry."""
        kept = ~self.vanishing
        return Comparison(
            self.kind,
            self.label[kept],
            self.mean[kept],
            self.std[kept],
            self.epistemic_std[kept],
            self.structure[kept],
            self.config_type[kept],
            self.degrees_of_freedom,
        )

    @property
    def score(self) -> FloatArray:
        """Errors as quantiles of the standard normal: standard normal where the predicted distributions are right."""
        return normal_score(standardised(self.error, self.std), self.degrees_of_freedom)

    def half_width(self, level: float) -> FloatArray:
        """Half the predicted central intervals of probability `level`."""
        return half_width(level, self.degrees_of_freedom) * self.std

    def metrics(self, config_type: str = ALL) -> Metrics:
        """Metrics of all components, or of those of one `config_type`."""
        chosen = np.full(self.label.size, True) if config_type == ALL else self.config_type == config_type
        return compute_metrics(
            self.kind,
            config_type,
            self.unit,
            self.error[chosen],
            self.std[chosen],
            self.structure[chosen],
            self.vanishing[chosen],
            self.degrees_of_freedom,
        )


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What `evaluate` found.

    Attributes
    ----------
    metrics : list of Metrics
        For each kind of label: the row of all structures, then one for each `config_type` (when there are several).
    comparisons : dict of str to Comparison
        The raw arrays, by kind; only kinds that occur in the structures.
    n_structures, n_atoms : int
        Size of what was evaluated.
    sources : tuple of str
        How messages name each structure, in the order of the list.
    not_learnt : tuple of str
        Those of the `config_types` of which the potential has learnt no structure, sorted.
    closer : dict of int to ClosePair
        By place in the list, structures whose atoms are closer than any in the fit.
    """

    metrics: list[Metrics]
    comparisons: dict[str, Comparison]
    n_structures: int
    n_atoms: int
    sources: tuple[str, ...] = ()
    not_learnt: tuple[str, ...] = ()
    closer: Mapping[int, ClosePair] = field(default_factory=dict)

    @property
    def config_types(self) -> list[str]:
        """Names present in any comparison, sorted."""
        return sorted({name for comparison in self.comparisons.values() for name in comparison.config_types})

    def rows(self, kind: str) -> list[Metrics]:
        """The rows of one kind of label."""
        return [row for row in self.metrics if row.kind == kind]

    def to_dict(self) -> dict[str, Any]:
        """The metrics as JSON-able data; numbers that are not finite become None."""
        return {
            "n_structures": self.n_structures,
            "n_atoms": self.n_atoms,
            "not_learnt": list(self.not_learnt),
            "closer": {str(k): pair._asdict() for k, pair in self.closer.items()},
            "metrics": [_jsonable(asdict(row)) for row in self.metrics],
        }


def evaluate(
    potential: Potential,
    structures: Sequence[Atoms],
    progress: Callable[[str, int, int], None] | None = None,
) -> EvaluationResult:
    """Predict labelled structures and measure errors and calibration.

    Parameters
    ----------
    potential : Potential
        A fitted potential.
    structures : sequence of ase.Atoms
        Structures with labels in their calculators, as `kernpot.read_structures` returns them. Each may lack any of
        energy, forces and stress; what is missing is left out. ``info["config_type"]`` names groups.
    progress : callable, optional
        Called as ``progress("predict", done, total)``.

    Returns
    -------
    EvaluationResult
        Energies are compared per atom in meV/atom, forces in eV/Angstrom, stress in GPa.

    Raises
    ------
    StructureError
        If a structure or label is unusable, or no structure has any label.
    """
    labelled = label_structures(structures)
    if all(item.energy is None and item.forces is None and item.stress is None for item in labelled):
        raise StructureError(
            f"none of the {len(labelled)} structures has energy, forces or stress to compare with.",
            "If the labels have other names, read with energy_key=... and forces_key=...",
            "If the labels have other names, give --energy-key and --forces-key; to compute labels: kernpot label.",
        )
    warn_of_missing([(item.source, item.atoms, item.kinds) for item in labelled])
    collected: dict[str, list[_Piece]] = {kind: [] for kind in UNITS}
    for start in range(0, len(labelled), _CHUNK):
        chunk = labelled[start : start + _CHUNK]
        predictions = potential.predict_full([item.atoms for item in chunk])
        for index, (item, prediction) in enumerate(zip(chunk, predictions, strict=True), start):
            for piece in _compare(index, item, prediction):
                collected[piece.kind].append(piece)
        if progress is not None:
            progress("predict", start + len(chunk), len(labelled))
    comparisons = {kind: _join(kind, pieces) for kind, pieces in collected.items() if pieces}
    metrics = []
    for comparison in comparisons.values():
        groups = comparison.config_types
        metrics += [comparison.metrics(name) for name in [ALL, *(groups if len(groups) > 1 else [])]]
    present = {name for comparison in comparisons.values() for name in comparison.config_types}
    return EvaluationResult(
        metrics,
        comparisons,
        len(labelled),
        sum(len(item.atoms) for item in labelled),
        tuple(item.source for item in labelled),
        _not_learnt(potential.summary_, present),
        _closer(potential, labelled),
    )


def _closer(potential: Potential, labelled: Sequence[LabelledStructure]) -> dict[int, ClosePair]:
    if not isinstance(potential, KnowsClosest):
        return {}
    found = {k: potential.closer_pair(item.atoms) for k, item in enumerate(labelled)}
    return {k: pair for k, pair in found.items() if pair is not None}


def _not_learnt(summary: Mapping[str, Any], present: Collection[str]) -> tuple[str, ...]:
    """Groups that no training structure belongs to; none where the training structures were in no groups."""
    parts = [summary, *summary.get("updates", [])]
    learnt = {name for part in parts for name in part.get("data", {}).get("config_types", {})}
    return tuple(sorted(set(present) - learnt - {NO_CONFIG_TYPE})) if learnt - {""} else ()


@dataclass(frozen=True, eq=False)
class _Piece:
    """One structure's labels of one kind; `values` has rows label, mean, std, epistemic_std."""

    kind: str
    structure: int
    config_type: str
    values: FloatArray
    degrees_of_freedom: float


def group_name(config_type: str) -> str:
    """How a row of structures of a `config_type` is called: no name of kernpot's own rows is taken by another."""
    return f"{config_type} (config_type)" if config_type in (ALL, NO_CONFIG_TYPE) else config_type or NO_CONFIG_TYPE


def _compare(index: int, item: LabelledStructure, prediction: Prediction) -> list[_Piece]:
    to_milli_per_atom = 1000.0 / len(item.atoms)
    pairs = (
        ("energy", item.energy, prediction.energy, to_milli_per_atom),
        ("forces", item.forces, prediction.forces, 1.0),
        ("stress", item.stress, prediction.stress, 1.0 / units.GPa),
    )
    pieces = []
    for kind, label, quantity, factor in pairs:
        if label is None or quantity is None:
            continue
        parts = (label, quantity.mean, quantity.std, quantity.epistemic_std)
        values = factor * np.stack([np.ravel(np.asarray(part, dtype=np.float64)) for part in parts])
        values = values[:, item.known(kind)]
        pieces.append(_Piece(kind, index, group_name(item.config_type), values, quantity.degrees_of_freedom))
    return pieces


def _join(kind: str, pieces: list[_Piece]) -> Comparison:
    lengths = [piece.values.shape[1] for piece in pieces]
    label, mean, std, epistemic_std = np.concatenate([piece.values for piece in pieces], axis=1)
    structure = np.repeat(np.array([piece.structure for piece in pieces], dtype=np.int64), lengths)
    config_type = np.repeat(np.array([piece.config_type for piece in pieces]), lengths)
    tails = pieces[0].degrees_of_freedom  # a potential has one for each kind
    return Comparison(kind, label, mean, std, epistemic_std, structure, config_type, tails)


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

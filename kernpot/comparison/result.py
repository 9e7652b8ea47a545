"""What a comparison found: tables and verdicts follow from the answers of the potentials by pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kernpot.comparison.detection import Detection, detect, familiar_tolerance
from kernpot.comparison.resampling import MEASURES, FloatArray, Score, compare_errors
from kernpot.comparison.run import ALL, CURVE
from kernpot.comparison.scoring import Record
from kernpot.uncertainty.sampling_error import Range, share_range

ALL_QUANTITIES = "all"


@dataclass(frozen=True)
class CurvePoint:
    """What every potential has learnt from so many structures.

    Attributes
    ----------
    n_train : int
        Structures learnt, isolated atoms not counted.
    scores : list of Score
        Those that could be told, by kind and measure.
    coverage : dict
        Share of labels inside 90 % intervals: by potential, then by kind.
    fit_s : dict of str to float
        Wall time of the fit by potential.
    failed : dict of str to str
        Potentials without an answer, and why.
    """

    n_train: int
    scores: list[Score]
    coverage: dict[str, dict[str, float]]
    fit_s: dict[str, float]
    failed: dict[str, str]

    def score(self, kind: str, measure: str) -> Score | None:
        """One of the scores."""
        return next((s for s in self.scores if (s.kind, s.measure) == (kind, measure)), None)


@dataclass(frozen=True)
class Coverage:
    """How many intervals of a kind of derived quantity hold the true value.

    Attributes
    ----------
    n, n_structures : int
        Values, and structures they are of (of a pair the first).
    inside_50, inside_90 : float
        Shares of them inside 50 and 90 % intervals.
    range : (float, float) or None
        90 % confidence range of `inside_90`; values of one structure are not independent. None for a single structure.
    rms_z : float
        Root mean square of error / std.
    rms_error : float
        In the unit.
    unit : str
    """

    n: int
    n_structures: int
    inside_50: float
    inside_90: float
    range: Range | None
    rms_z: float
    rms_error: float
    unit: str


@dataclass(frozen=True)
class ComparisonResult:
    """Everything that was found.

    Attributes
    ----------
    potentials : list of str
        Names, in the order given.
    n_train, n_test : int
        Structures learnt (isolated atoms not counted), and asked about.
    scores : list of Score
        Errors of the fits to all training structures on all test structures, by kind and measure.
    metrics : dict of str to list of dict
        By potential: rows of `kernpot.uncertainty.Metrics` by kind and ``config_type``.
    reliability : dict of str to dict
        By potential, then by kind: share of labels found inside intervals against the share claimed.
    curve : list of CurvePoint
        From few structures to all; the last is the fit to all.
    detection : list of Detection
    shifted : dict of str to dict
        By shift, then by potential: metrics rows of the shifted structures.
    derived : dict of str to dict of str to Coverage, or to str
        By potential, then by kind of quantity; or why there are none.
    cost : dict of str to dict
        By potential: ``fit`` and ``answers``.
    """

    potentials: list[str]
    n_train: int
    n_test: int
    scores: list[Score]
    metrics: dict[str, list[Record]]
    reliability: dict[str, Record]
    curve: list[CurvePoint]
    detection: list[Detection]
    shifted: dict[str, dict[str, list[Record]]]
    derived: dict[str, dict[str, Coverage] | str]
    cost: dict[str, Record]

    def score(self, kind: str, measure: str) -> Score | None:
        """One of the scores."""
        return next((s for s in self.scores if (s.kind, s.measure) == (kind, measure)), None)

    def row(self, name: str, kind: str, config_type: str = ALL) -> Record | None:
        """Metrics of one potential for one kind of label and group."""
        rows = self.metrics[name]
        return next((r for r in rows if (r["kind"], r["config_type"]) == (kind, config_type)), None)

    @property
    def kinds(self) -> list[str]:
        """Kinds of label that were compared."""
        return list(dict.fromkeys(s.kind for s in self.scores))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able data; numbers that are not finite become None."""
        return {name: _jsonable(value) for name, value in asdict(self).items()}


def summarise(answers: Mapping[str, Mapping[str, Record]], tolerance: float | None = None) -> ComparisonResult:
    """Tables and verdicts from answers.

    Parameters
    ----------
    answers : mapping of str to mapping of str to dict
        By potential and job, as `kernpot.comparison.run.run` returns them.
    tolerance : float, optional
        Error of a force above which it is bad, eV/Angstrom. None takes what 19 of 20 forces on test structures stay
        below, all potentials taken together.
    """
    whole = {name: jobs[ALL] for name, jobs in answers.items()}
    first = next(iter(whole.values()))
    forces = {name: record["forces"] for name, record in whole.items() if record["forces"] is not None}
    detection = []
    if forces:
        limit = familiar_tolerance(forces) if tolerance is None else tolerance
        detection = [detect(shift, of, limit) for shift, of in _by_shift(answers).items()]
    return ComparisonResult(
        potentials=list(answers),
        n_train=first["n_train"],
        n_test=first["n_structures"],
        scores=_scores(whole),
        metrics={name: record["metrics"] for name, record in whole.items()},
        reliability={name: record["reliability"] for name, record in whole.items()},
        curve=_curve(answers),
        detection=[found for found in detection if found is not None],
        shifted={
            shift: {name: r["shifted"][shift]["metrics"] for name, r in of.items() if "failed" not in r}
            for shift, of in _by_shift(answers).items()
        },
        derived={name: _derived(record["derived"]) for name, record in whole.items()},
        cost={name: {"fit": record["fit"], "answers": record["cost"]} for name, record in whole.items()},
    )


def _scores(records: Mapping[str, Record]) -> list[Score]:
    kinds = [k for k in ("energy", "forces", "stress") if all(k in record["sums"] for record in records.values())]
    return [
        compare_errors(kind, measure, {name: record["sums"][kind] for name, record in records.items()})
        for kind in kinds
        for measure in MEASURES
    ]


def _curve(answers: Mapping[str, Mapping[str, Record]]) -> list[CurvePoint]:
    """Points of the jobs that learn a subset, and of the fit to all."""
    names = [job for job, record in next(iter(answers.values())).items() if record["role"] in (CURVE, ALL)]
    points = []
    for job in names:
        records = {name: jobs[job] for name, jobs in answers.items()}
        failed = {name: record["failed"] for name, record in records.items() if "failed" in record}
        able = {name: record for name, record in records.items() if name not in failed}
        points.append(
            CurvePoint(
                n_train=next(iter(records.values()))["n_train"],
                scores=_scores(able) if able else [],
                coverage={
                    name: {
                        row["kind"]: math.nan if row["coverage"]["0.9"] is None else row["coverage"]["0.9"]
                        for row in record["metrics"]
                        if row["config_type"] == ALL
                    }
                    for name, record in able.items()
                },
                fit_s={name: record["fit"]["wall_s"] for name, record in able.items()},
                failed=failed,
            )
        )
    return points


def _by_shift(answers: Mapping[str, Mapping[str, Record]]) -> dict[str, dict[str, Record]]:
    """Answers about shifted structures: by shift, then by potential."""
    found: dict[str, dict[str, Record]] = {}
    for name, jobs in answers.items():
        for record in jobs.values():
            for shift in record["shifted"]:
                found.setdefault(shift, {})[name] = record
    return found


def _derived(values: Sequence[Record] | Record) -> dict[str, Coverage] | str:
    if isinstance(values, Mapping):
        return str(values["failed"])
    kinds = dict.fromkeys(value["kind"] for value in values)
    found = {kind: _coverage([v for v in values if v["kind"] == kind]) for kind in kinds}
    return {**found, ALL_QUANTITIES: _coverage(values)} if len(found) > 1 else found


def _coverage(values: Sequence[Record]) -> Coverage:
    error = np.array([v["mean"] - v["truth"] for v in values])
    std = np.array([v["std"] for v in values])
    hits = np.array([[v["inside_50"], v["inside_90"]] for v in values], dtype=np.float64)
    owner = np.unique([v["structure"] for v in values], return_inverse=True)[1]
    inside: FloatArray = np.bincount(owner, weights=hits[:, 1]).astype(np.float64)
    sizes: FloatArray = np.bincount(owner).astype(np.float64)
    mixed = len({v["unit"] for v in values}) > 1
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(error == 0, 0.0, error / std)
    return Coverage(
        n=len(values),
        n_structures=sizes.size,
        inside_50=float(hits[:, 0].mean()),
        inside_90=float(hits[:, 1].mean()),
        range=share_range(inside, sizes) if sizes.size > 1 else None,
        rms_z=float(np.sqrt(np.mean(z**2))),
        rms_error=math.nan if mixed else float(np.sqrt(np.mean(error**2))),
        unit="" if mixed else values[0]["unit"],
    )


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

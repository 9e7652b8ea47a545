"""Misfit scaled by held-out structures: to the least score, written here, and without touching anything else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from scipy.stats import norm

from kernpot.calibration.misfit import Misfit
from kernpot.errors import StructureError
from kernpot.gp.fitted import FittedGP
from kernpot.gp.predicting.calibrated import with_misfit_of
from kernpot.gp.predicting.predictor import Predictor
from kernpot.structures.kinds import LABEL_KINDS
from kernpot.structures.labels import label_structures
from tests.gp.small import fitted
from tests.helpers.systems import crystals

FRAMES = crystals(3, symbols="Cu2Au2")
HELD_OUT = crystals(8, seed=3, symbols="Cu3Au")


@pytest.fixture(scope="module")
def gp() -> FittedGP:
    """With misfit that has Gaussian tails: their score is easily written down."""
    plain = {"energy": Misfit(0.003), "forces": Misfit(0.05, 0.4), "stress": Misfit(0.001)}
    return replace(fitted(FRAMES).fitted_, misfit=plain)


@pytest.fixture(scope="module")
def calibrated(gp: FittedGP) -> FittedGP:
    return with_misfit_of(gp, label_structures(HELD_OUT))


def score(gp: FittedGP, kind: str, frames: list[Atoms]) -> float:
    """Mean continuous ranked probability score of Gaussians (Gneiting and Raftery 2007, eq. 5)."""
    parts = []
    for atoms in frames:
        q, size = getattr(Predictor(gp)(atoms), kind), len(atoms) if kind == "energy" else 1
        z = np.ravel((atoms.calc.results[kind] - q.mean) / q.std)
        own = z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi)
        parts.append(np.ravel(q.std) * own / size)
    return float(np.mean(np.concatenate(parts)))


def scaled(gp: FittedGP, kind: str, factor: float) -> FittedGP:
    m = gp.misfit[kind]
    return replace(gp, misfit=gp.misfit | {kind: replace(m, constant=factor * m.constant, factor=factor * m.factor)})


@pytest.mark.parametrize("kind", LABEL_KINDS)
def test_factor_has_the_least_score_and_is_drawn_to_one_by_as_much_as_one_structure(gp, calibrated, kind: str) -> None:
    told = calibrated.summary["updates"][-1]["calibration"][kind]
    factor = calibrated.misfit[kind].constant / gp.misfit[kind].constant
    assert told["factor"] == pytest.approx(factor, rel=1e-9)
    assert told["crps_before"] == pytest.approx(score(gp, kind, HELD_OUT), rel=1e-6)
    assert told["crps_after"] == pytest.approx(score(calibrated, kind, HELD_OUT), rel=1e-6)

    def objective(g: float) -> float:
        return np.log(score(scaled(gp, kind, g), kind, HELD_OUT)) + 0.5 * np.log(g) ** 2 / len(HELD_OUT)

    assert objective(factor) < min(objective(1.05 * factor), objective(factor / 1.05))


def test_means_and_what_is_known_of_the_potential_stay(gp: FittedGP, calibrated: FittedGP) -> None:
    new = crystals(1, seed=9, symbols="Cu3Au")[0]
    before, after = Predictor(gp)(new), Predictor(calibrated)(new)
    for kind in LABEL_KINDS:
        for which in ("mean", "epistemic_std"):
            np.testing.assert_array_equal(getattr(getattr(after, kind), which), getattr(getattr(before, kind), which))
    assert calibrated.log_evidence == gp.log_evidence
    assert len(calibrated.summary["updates"]) == len(gp.summary["updates"]) + 1


def test_structures_of_the_fit_are_refused(gp: FittedGP) -> None:
    with pytest.raises(StructureError, match="was in the fit"):
        with_misfit_of(gp, label_structures([*HELD_OUT, FRAMES[1]]))

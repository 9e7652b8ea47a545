"""Force errors of structures left out equal those of fits without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from sklearn.exceptions import NotFittedError

from kernpot import SOAPKernel, SparseGPPotential, load
from kernpot.calibration.misfit import Misfit
from kernpot.errors import KernpotError
from tests.helpers.changed import changed
from tests.helpers.systems import cluster, crystals, labelled, slab, soap

SETTINGS: dict[str, Any] = {
    "descriptor": soap(["Cu", "Au"]),
    "kernel": SOAPKernel(2, amplitude=1.5),
    "noise": {"energy": 0.002, "forces": 0.03, "stress": 0.001, "config_type": {"surface": {"forces": 0.06}}},
    "optimize": False,
    "isolated_atoms": {"Cu": 3.0, "Au": 3.5},
}
MISFIT = Misfit(0.01, 1.3, 8.0, exponent=1.15, reference=2e-3)
DATA = [*crystals(4, symbols="Cu3Au"), slab(2, "Au"), cluster("Cu2Au2"), slab(3, "Cu")]
for atoms in (DATA[4], DATA[6]):
    atoms.info["config_type"] = "surface"
DATA[1].info["noise_scale"] = {"forces": 3.0, "energy": 2.0}


def fitted(data: list[Any]) -> SparseGPPotential:
    gp = SparseGPPotential(inducing=DATA[:3], **SETTINGS).fit(data)
    # The closest distances of a fit without a structure are others.
    return changed(gp, misfit=gp.misfit_ | {"forces": MISFIT}, unseen_pairs=None)


@pytest.mark.parametrize("out", range(len(DATA)))
def test_equals_a_fit_without(out: int) -> None:
    """Errors and calibrated stds, also where a structure has labels of less weight, or noise of its own."""
    found = fitted(DATA).left_out()
    without = fitted([a for k, a in enumerate(DATA) if k != out]).predict_full([DATA[out]])[0].forces
    assert len(found) == len(DATA)
    np.testing.assert_allclose(found[out].errors, without.mean - DATA[out].get_forces(), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[out].std, without.std, rtol=1e-6)


def test_structures_without_forces_and_isolated_atoms_are_passed_over() -> None:
    alone = Atoms("Cu")
    alone.calc = SinglePointCalculator(alone, energy=3.0, forces=np.zeros((1, 3)))
    more = [labelled(crystals(1, seed=3)[0], ["energy"]), alone]
    assert len(fitted([*DATA, *more]).left_out()) == len(DATA)


def test_what_was_learnt_later_counts_and_files_keep_it(tmp_path: Path) -> None:
    gp = fitted(DATA[:5]).partial_fit(DATA[5:])
    for a, b in zip(gp.left_out(), fitted(DATA).left_out(), strict=True):
        np.testing.assert_allclose(a.errors, b.errors, rtol=1e-6, atol=1e-9)
    gp.save(tmp_path / "a.kernpot")
    again = load(tmp_path / "a.kernpot")
    for a, b in zip(gp.left_out(), again.left_out(), strict=True):
        np.testing.assert_array_equal(a.errors, b.errors)
        np.testing.assert_array_equal(a.std, b.std)


def test_needs_a_fit_and_its_structures() -> None:
    with pytest.raises(NotFittedError):
        SparseGPPotential().left_out()
    gp = changed(fitted(DATA), training=None)
    with pytest.raises(KernpotError, match="leaving structures out needs the training structures"):
        gp.left_out()

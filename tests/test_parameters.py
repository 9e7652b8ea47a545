"""Settings are what they are said to be, in every class that takes some: no truth values, text or complex numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.emt import EMT

from kernpot import SOAPKernel
from kernpot.backend.randomness import generator_of
from kernpot.backend.selection import distinct_candidates
from kernpot.descriptors import GivenFeatures, default_acsf, default_descriptor
from kernpot.dynamics import Bootstrap, Schedule, Stage
from kernpot.dynamics.oracles import CalculatorOracle, FileOracle
from kernpot.dynamics.reasons import checked_thresholds
from kernpot.dynamics.settings import LearnSettings
from kernpot.errors import KernpotError
from kernpot.kernels import PolynomialKernel, Power
from kernpot.parameters import is_real, is_whole
from kernpot.structures.neighbours import NeighbourList
from kernpot.structures.noise import NoiseModel
from tests.helpers.systems import crystals

NO_NUMBERS = [True, "no", 1 + 2j, [], {}, None, np.array([1.0, 2.0]), b"1"]


def test_numbers_of_python_and_numpy_are_numbers() -> None:
    assert (
        is_whole(3, 1)
        and is_whole(np.int64(3), 1)
        and not is_whole(3.0)
        and not is_whole(0, 1)
        and not is_whole(9, 1, 8)
    )
    assert is_real(3, 0) and is_real(np.float32(0.5), 0, 1) and not is_real(-1, 0) and not is_real(10**400)
    assert not any(is_real(x) or is_whole(x) for x in [*NO_NUMBERS, np.bool_(True), np.nan, np.inf])


def given(**changes: Any) -> GivenFeatures:
    return GivenFeatures(**({"features": "x", "species": ["Cu"], "n_features": 3} | changes))


REAL: dict[str, Callable[[Any], Any]] = {
    "amplitude of a kernel": lambda x: SOAPKernel(amplitude=x),
    "cutoff of given features": lambda x: given(cutoff=x),
    "skin of a neighbour list": lambda x: NeighbourList(4.0, skin=x),
    "cutoff of a neighbour list": lambda x: NeighbourList(x),
    "temperature of a stage": lambda x: Stage("nve", 5, temperature=x),
    "timestep of a stage": lambda x: Stage("nve", 5, timestep=x),
    "friction of a stage": lambda x: Stage("langevin", 5, friction=x),
    "pressure of a stage": lambda x: Stage("npt", 5, pressure=x),
    "rattle of a bootstrap": lambda x: Bootstrap(rattle=x),
    "strain of a bootstrap": lambda x: Bootstrap(strain=x),
    "refit_growth of a learner": lambda x: LearnSettings(n_steps=5, refit_growth=x),
    "poll of an oracle of files": lambda x: FileOracle(".", poll=x),
    "random_part of a selection": lambda x: distinct_candidates(crystals(2), (), 1, x),
}
WHOLE: dict[str, Callable[[Any], Any]] = {
    "zeta": lambda x: SOAPKernel(zeta=x),
    "powers": lambda x: PolynomialKernel(powers=[x]),
    "a power of the cosine": lambda x: Power(x),
    "n_features of given features": lambda x: given(n_features=x),
    "steps of a stage": lambda x: Stage("nve", x),
    "number of a bootstrap": lambda x: Bootstrap(number=x),
    "n_walkers of a learner": lambda x: LearnSettings(n_steps=5, n_walkers=x),
    "n_workers of an oracle": lambda x: CalculatorOracle(EMT, n_workers=x),
    "retries of an oracle": lambda x: CalculatorOracle(EMT, retries=x),
}


@pytest.mark.parametrize("name", REAL | WHOLE)
@pytest.mark.wrong_input(
    "Settings", "truth values, text, complex numbers, NaN or lists where a number is asked", "refused"
)
def test_what_is_no_number_is_refused(name: str) -> None:
    make = (REAL | WHOLE)[name]
    for value in [*NO_NUMBERS, np.nan, np.inf, -1e300]:
        with pytest.raises(KernpotError):
            make(value)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.wrong_input("Settings", "numbers that are not whole where a whole one is asked", "refused")
def test_what_is_not_whole_is_refused(name: str) -> None:
    for value in (1.5, 0.1, -3):
        with pytest.raises(KernpotError):
            WHOLE[name](value)


@pytest.mark.parametrize("value", [*NO_NUMBERS[:-3], -1, 2**32, 1.5])
@pytest.mark.wrong_input("Settings", "a random_state that is no seed", "refused")
def test_seeds(value: Any) -> None:
    with pytest.raises(KernpotError, match="random_state must be None, a whole number from 0 to"):
        generator_of(value)


@pytest.mark.parametrize("value", [True, "Cu", 29, {"a": 1}, b"x", [29.7], [500], [-3], [None], []])
@pytest.mark.wrong_input("Settings", "elements that are none", "refused")
def test_elements(value: Any) -> None:
    for make in (default_descriptor, default_acsf, lambda z: SOAPKernel(elements=z), lambda z: given(species=z)):
        with pytest.raises(KernpotError):
            make(value)


@pytest.mark.wrong_input("Settings", "stages, priors, thresholds or data of another type", "refused")
def test_what_is_of_another_type(tmp_path: Path) -> None:
    for wrong in (
        lambda: Schedule("nve"),  # type: ignore[arg-type]
        lambda: Schedule([5]),  # type: ignore[list-item]
        lambda: Stage(np.array([1.0, 2.0]), 5),  # type: ignore[arg-type]
        lambda: SOAPKernel(amplitude_prior="normal"),  # type: ignore[arg-type]
        lambda: checked_thresholds({"force_std": True}),
        lambda: LearnSettings(n_steps=5, bootstrap={"number": 3}),  # type: ignore[arg-type]
        lambda: LearnSettings(n_steps=5, data="train.xyz"),  # type: ignore[arg-type]
        lambda: LearnSettings(n_steps=5, observe="print"),  # type: ignore[arg-type]
        lambda: CalculatorOracle(EMT, timeout="long"),  # type: ignore[arg-type]
        lambda: FileOracle(tmp_path, wait="yes"),  # type: ignore[arg-type]
        lambda: given(jacobians=np.zeros(3)),
        lambda: NoiseModel(energy=True),
        lambda: NoiseModel(forces=1e300),
    ):
        with pytest.raises(KernpotError):
            wrong()

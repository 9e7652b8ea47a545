"""One table tells what a gate looks at, for all who say so."""

from __future__ import annotations

from typing import get_args

import pytest

from kernpot.dynamics.checked import GateCheck
from kernpot.dynamics.reasons import REASONS, Reason, checked_thresholds


def test_every_reason_is_in_the_table_and_measured_by_a_check() -> None:
    assert set(REASONS) == set(get_args(Reason)) < set(GateCheck.__annotations__)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("force_std", "a force component on atom 3 (Si) has a std of 0.00123 eV/Å"),
        ("energy_std", "the energy has a std of 0.00123 eV/atom (largest force std: atom 3, Si)"),
        ("stress_std", "a stress component has a std of 0.00123 eV/Å³ (largest force std: atom 3, Si)"),
        ("novelty", "atom 3 (Si) has a leverage of 0.00123"),
    ],
)
def test_sentences_have_the_unit_of_what_was_measured(reason: Reason, said: str) -> None:
    assert REASONS[reason].sentence(0.0012345, 3, "Si") == said


def test_only_thresholds_that_are_given_are_kept() -> None:
    assert checked_thresholds({"force_std": 1, "energy_std": None, "novelty": 2.5}) == {
        "force_std": 1.0,
        "novelty": 2.5,
    }
    with pytest.raises(ValueError, match="novelty must be a positive number in units of leverage, got -1"):
        checked_thresholds({"novelty": -1})

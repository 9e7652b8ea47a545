"""Labels of single structures held against a fit: which of them can say anything."""

from __future__ import annotations

import pytest
import torch

from kernpot.gp.learning.agreement import Agreement
from kernpot.gp.rows.sketch import Sketch, Sketches
from kernpot.structures.labels import label_structures
from tests.helpers.systems import crystals

# Of a weight of one: the part of the labels that the fit says.
KCAL_MOL = 23.06


def of(size: float, agreement: float) -> Sketches:
    """A structure with four atoms whose forces have this rms, eV/A."""
    square = 12 * size**2
    return Sketches({"forces": Sketch(torch.tensor([agreement * square], dtype=torch.float64), square, 12)}, None)


@pytest.mark.parametrize(("n_others", "refused"), [(3, False), (12, True)])
def test_forces_that_are_zero_by_symmetry_say_nothing_of_what_is_usual(n_others: int, refused: bool) -> None:
    perfect = [of(1e-15, 0.3)] * 6
    others = [of(0.5, 0.98 + 0.005 * (k % 2)) for k in range(n_others)]
    all_of_them = [*perfect, *others, of(0.3, 1 / KCAL_MOL)]
    found = Agreement(
        "forces",
        label_structures(crystals(len(all_of_them))),
        dict(enumerate(all_of_them)),
        torch.ones(1, dtype=torch.float64),
    ).findings()
    assert [finding.severity for finding in found] == (["refused"] if refused else [])
    assert all("forces look like kcal/mol" in finding.message for finding in found)

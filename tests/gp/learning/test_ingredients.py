"""Labels of a kind without rows are refused before any work, wherever they come."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kernpot import SparseGPPotential
from kernpot.errors import KernpotError
from kernpot.functionals import labels
from kernpot.functionals.labels import FUNCTIONALS, functional_of
from kernpot.structures import kinds
from tests.doors.atomic_energies import ATOMIC_ENERGIES
from tests.doors.atomic_energy_rows import ROWS
from tests.doors.real import copper, soap
from tests.helpers.registries import only_ours

MISSING = (
    r"labels of kind 'energies' have no rows.*register\(LabelFunctional\('energies', \.\.\.\)\), or leave such labels"
)


@pytest.fixture
def without_kind() -> Iterator[None]:
    with only_ours():
        yield


@pytest.mark.usefixtures("without_kind")
def test_a_kind_without_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gp = SparseGPPotential(soap(["Cu"]), n_inducing=8, random_state=0).fit(copper(8, 0))
    kinds.register(ATOMIC_ENERGIES)
    before = gp.mean(copper(1, 5)[0]).energy

    def work(*_: object) -> None:
        raise AssertionError("work was started before the input was refused")

    with monkeypatch.context() as patched:
        patched.setattr("kernpot.gp.rows.maker.RowMaker.__call__", work)
        for learn in (gp.fit, gp.partial_fit, gp.update):
            with pytest.raises(KernpotError, match=MISSING):
                learn(copper(8, 1))
    assert gp.mean(copper(1, 5)[0]).energy == before


@pytest.mark.usefixtures("without_kind")
def test_rows_that_were_there_at_the_fit_alone_are_missed_by_name() -> None:
    """As in a process that reads a model and imports the kind, but not its rows."""
    kinds.register(ATOMIC_ENERGIES)
    labels.register(ROWS)
    gp = SparseGPPotential(soap(["Cu"]), n_inducing=8, random_state=0).fit(copper(8, 0))
    del labels.FUNCTIONALS["energies"]
    for ask in (lambda: gp.predict_label(copper(1, 5), "energies"), lambda: gp.calibrate(copper(6, 2))):
        with pytest.raises(KernpotError, match=MISSING):
            ask()


def test_kinds_with_rows_have_them() -> None:
    assert all(functional_of(kind) is functional for kind, functional in FUNCTIONALS.items())

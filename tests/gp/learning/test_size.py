"""How many inducing environments a fit takes of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernpot import SparseGPPotential, load
from kernpot.descriptors import SOAPFeatures
from kernpot.errors import KernpotError
from kernpot.gp.learning import size
from kernpot.gp.learning.size import Growth, Step
from kernpot.structures.labels import label_structures
from tests.helpers.systems import crystals, soap


@pytest.fixture
def growth() -> Growth:
    return Growth(label_structures(crystals(3)), [SOAPFeatures(soap(["Cu"]))])


def test_twice_as_many_while_errors_fall(growth: Growth) -> None:
    assert growth.next(Step(1000, 0.0, -0.3, 2), 1000) == 2000
    assert growth.next(Step(2000, -0.3, -0.35, 2), 2000) is None
    assert growth.told["stopped"] == "errors on structures left out fell by 2 % from half of them to all, less than 8 %"
    assert [s["n_inducing"] for s in growth.told["steps"]] == [1000, 2000]
    assert growth.told["steps"][0]["gain"] == pytest.approx(0.15)


def test_four_times_as_many_where_errors_fall_fast(growth: Growth) -> None:
    assert growth.next(Step(1000, 0.0, -0.49, 2), 1000) == 2000
    assert growth.next(Step(1000, 0.0, -0.51, 2), 1000) == 4000


def test_no_further_than_the_budget_and_no_step_that_is_small(growth: Growth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size, "OPERATIONS", 25.0 * 1500**3)
    assert 1400 < (growth.next(Step(1000, 0.0, -1.0, 2), 1000) or 0) < 1500
    assert growth.next(Step(1400, 0.0, -1.0, 2), 1400) is None
    assert growth.told["stopped"] == "more would take more than some ten minutes on two cores"
    monkeypatch.setattr(size, "MEMORY", 1e7)
    fresh = Growth(label_structures(crystals(3)), [SOAPFeatures(soap(["Cu"]))])
    assert fresh.next(Step(1000, 0.0, -1.0, 2), 1000) is None
    assert fresh.told["stopped"] == "more would take more than 0 GB of memory"


def test_nothing_tells(growth: Growth) -> None:
    assert growth.next(Step(1000, None, None, 1), 1000) is None
    assert "too few structures" in growth.told["stopped"]
    assert growth.next(Step(700, 0.0, -1.0, 1), 1000) is None
    assert growth.told["stopped"] == "the structures hold no more distinct environments"


def test_a_fit_grows_and_its_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size, "FIRST", 4)
    gp = SparseGPPotential(soap(["Cu"]), random_state=0).fit(crystals(12))
    told = gp.summary_["growth"]
    more = gp.summary_["hyperparameters"].get("whole_space", {"directions": 0})["directions"]
    assert gp.n_inducing_ == told["steps"][-1]["n_inducing"] + more and told["steps"][-1]["n_inducing"] >= 8
    assert told["steps"][0]["n_inducing"] == 4
    assert told["steps"][1]["n_inducing"] == (16 if told["steps"][0]["gain"] > 0.25 else 8)
    assert told["stopped"]
    gp.save(tmp_path / "m.kernpot")
    again = load(tmp_path / "m.kernpot")
    assert again.n_inducing == "auto" and again.summary_["growth"] == told


@pytest.mark.parametrize("n_inducing", ["automatic", 0, -3, 1.5, None, True])
def test_other_numbers_are_refused(n_inducing: object) -> None:
    with pytest.raises(KernpotError, match="n_inducing must be 'auto' or a positive integer"):
        SparseGPPotential(soap(["Cu"]), n_inducing=n_inducing).fit(crystals(3))  # type: ignore[arg-type]

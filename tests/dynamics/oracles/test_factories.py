import pickle

import pytest
from ase.calculators.emt import EMT

from kernpot.dynamics.oracles import OracleError, calculator_factory
from kernpot.dynamics.oracles.describe import describe_factory


def test_names_that_ase_knows():
    factory = pickle.loads(pickle.dumps(calculator_factory("emt", asap_cutoff=True)))
    assert isinstance(factory(), EMT) and factory().parameters.asap_cutoff
    assert describe_factory(factory)["calculator"] == "ase.calculators.emt.EMT"


def test_tight_binding_prints_nothing():
    pytest.importorskip("tblite")
    calculator = calculator_factory("tblite", method="GFN1-xTB")()
    assert calculator.parameters.method == "GFN1-xTB"
    assert calculator.parameters.verbosity == 0
    said = describe_factory(calculator_factory("tblite"))
    assert said["calculator"] == "tblite.ase.TBLite" and "tblite" in said["versions"]
    with pytest.raises(OracleError, match="unknown setting 'metod'; did you mean 'method'"):
        calculator_factory("tblite", metod="GFN1-xTB")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("tblit", {}, "did you mean 'tblite'"),
        ("EMT", {}, "did you mean 'emt'"),
        ("zzzz", {}, "Known are abinit"),
        ("pyscf", {"functional": "pbe"}, "unknown settings"),
        ("espresso", {}, "missing 3 required"),
        ("hotbit", {}, "Install the package"),
    ],
)
def test_what_cannot_be_built_is_said_at_once(name, settings, message):
    if name == "pyscf":
        pytest.importorskip("pyscf")
    with pytest.raises(OracleError, match=message):
        calculator_factory(name, **settings)


def test_packages_that_are_absent_are_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(OracleError, match=r"pip install 'kernpot\[oracles\]'"):
        calculator_factory("pyscf")


def test_functions_are_described_by_their_name():
    said = describe_factory(test_functions_are_described_by_their_name)
    assert said["calculator"].endswith("test_factories.test_functions_are_described_by_their_name")

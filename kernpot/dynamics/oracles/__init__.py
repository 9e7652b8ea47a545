"""Who answers when the potential asks: a quantum code run here, or somebody else's queue."""

from __future__ import annotations

from kernpot.dynamics.oracles.calculator import CalculatorOracle
from kernpot.dynamics.oracles.espresso import EspressoFactory
from kernpot.dynamics.oracles.factories import calculator_factory
from kernpot.dynamics.oracles.files import FileOracle
from kernpot.dynamics.oracles.labels import Labels, checked_labels, labelled
from kernpot.dynamics.oracles.protocol import Oracle
from kernpot.dynamics.oracles.pyscf import PySCF
from kernpot.errors import OracleError, OracleFailure, OraclePending

__all__ = [
    "CalculatorOracle",
    "EspressoFactory",
    "FileOracle",
    "Labels",
    "Oracle",
    "OracleError",
    "OracleFailure",
    "OraclePending",
    "PySCF",
    "calculator_factory",
    "checked_labels",
    "labelled",
]

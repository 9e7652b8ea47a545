"""Calculators by name, for configuration files and the command line."""

from __future__ import annotations

import difflib
import functools
import importlib.util
from collections.abc import Callable
from typing import Any

from ase.calculators.calculator import external_calculators, get_calculator_class
from ase.calculators.names import names as ase_names

from kernpot.dynamics.oracles.espresso import EspressoFactory
from kernpot.dynamics.oracles.pyscf import PySCF
from kernpot.errors import OracleError

OWN = ("espresso", "pyscf", "tblite")


def calculator_factory(name: str, **settings: Any) -> Callable[[], Any]:
    """A callable that builds an ASE calculator and can be sent to other processes; what can be checked is checked now.

    Parameters
    ----------
    name : str
        ``"tblite"`` (tight binding: ``method="GFN2-xTB"``, ...), ``"pyscf"`` (`PySCF`), ``"espresso"``
        (`EspressoFactory`), or any name that ASE knows, such as ``"emt"``, ``"vasp"``, ``"orca"``, ``"gpaw"``.
    **settings
        Passed to the calculator. tblite prints nothing unless told otherwise.

    Raises
    ------
    OracleError
        An unknown name, a package or program that is not installed, settings that the calculator does not accept.
    """
    known = sorted({*OWN, *ase_names, *external_calculators})
    if name not in known:
        close = difflib.get_close_matches(str(name).lower(), known, n=3)
        raise OracleError(
            f"unknown calculator {name!r}"
            + (f"; did you mean {' or '.join(repr(entry) for entry in close)}?" if close else ".")
            + f" Known are {', '.join(known)}."
        )
    try:
        factory = _factory(name, settings)
        factory()
    except OracleError:
        raise
    except ImportError as error:
        raise OracleError(f"{name}: cannot be imported ({error}). Install the package that provides it.") from error
    except Exception as error:
        raise OracleError(f"{name}: these settings do not build it: {type(error).__name__}: {error}") from error
    return factory


def _factory(name: str, settings: dict[str, Any]) -> Callable[[], Any]:
    if name == "espresso":
        return EspressoFactory(**settings)
    if name in ("pyscf", "tblite") and importlib.util.find_spec(name) is None:
        raise OracleError(
            f"{name}: the package is not installed; pip install {name}, or pip install 'kernpot[oracles]'."
        )
    if name == "pyscf":
        return functools.partial(PySCF, **settings)
    if name == "tblite":
        from tblite.ase import TBLite

        accepted = sorted({*TBLite.default_parameters, "initial_guess"})
        unknown = sorted(set(settings) - set(accepted))
        if unknown:
            close = difflib.get_close_matches(unknown[0], accepted, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"expected some of {accepted}."
            raise OracleError(f"tblite: unknown setting {unknown[0]!r}; {hint}")
        return functools.partial(TBLite, **{"verbosity": 0, **settings})
    return functools.partial(get_calculator_class(name), **settings)

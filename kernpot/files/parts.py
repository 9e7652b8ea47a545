"""Parts that model files of every kind have, read with care: whatever goes wrong is told as the file's fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernpot.errors import KernpotError, ModelFileError
from kernpot.regression.factor import LabelFactor
from kernpot.structures.elements import atomic_number
from kernpot.structures.reference import checked_energies

FILE_UNITS = {"energy": "eV", "length": "Angstrom", "forces": "eV/Angstrom", "stress": "eV/Angstrom^3"}


@contextmanager
def reading(part: str) -> Iterator[None]:
    """Whatever goes wrong inside is the file's fault, in this part of it."""
    try:
        yield
    except ModelFileError:
        raise  # says all there is to say
    except KeyError as error:
        raise ModelFileError(
            f"the model file lacks {error} (reading its {part}): it was not written by kernpot; save the model again."
        ) from None
    except (KernpotError, ArithmeticError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"the part {part!r} of the model file cannot be used: {error}. The file is damaged or was "
            "not written by kernpot; save the model again, or refit it."
        ) from error


def require(condition: bool, otherwise: str) -> None:
    """Raise ValueError unless a condition holds."""
    if not condition:
        raise ValueError(otherwise)


def number(value: Any) -> float:
    """A finite number."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    require(real and bool(np.isfinite(value)), f"{value!r} is not a finite number")
    return float(value)


def require_units(header: Mapping[str, Any]) -> None:
    """Refuse a model whose file says other units than the ones it is read in."""
    with reading("units"):
        require(header["units"] == FILE_UNITS, f"expected {FILE_UNITS}, got {header['units']!r}")


def elements_of(values: Any) -> tuple[int, ...]:
    """Different atomic numbers, ascending."""
    found = tuple(z if not isinstance(z, str) and atomic_number(z) else 0 for z in values)
    ascending = list(found) == sorted(set(found))
    require(bool(found) and ascending and 0 not in found, f"expected atomic numbers, ascending, got {values!r}")
    return found


def energies_of(data: Mapping[str, Any]) -> dict[int | str, float]:
    """Energies of isolated atoms by atomic number or symbol, in a form that estimators take and check."""
    given: dict[int | str, float] = {int(z) if z.isdigit() else z: number(e) for z, e in data.items()}
    checked_energies(given)
    return given


def tensor_of(tensors: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> Tensor:
    """A stored array of float64, with the shape expected (-1: any but 0)."""
    array = np.array(tensors[name])
    if array.size == 1 and not shape:
        array = array.reshape(())  # single numbers are stored with one dimension
    fits = array.ndim == len(shape) and all(n == m or (m < 0 < n) for n, m in zip(array.shape, shape, strict=True))
    expected = f"({', '.join('any' if n < 0 else str(n) for n in shape)})"
    require(fits, f"{name} has the shape {array.shape}, expected {expected}")
    require(array.dtype == np.float64, f"{name} has the type {array.dtype}, expected float64")
    require(bool(np.isfinite(array).all()), f"{name} holds numbers that are not finite")
    return torch.from_numpy(array)


def factor_tensors(name: str, factor: LabelFactor) -> dict[str, NDArray[Any]]:
    """Arrays of a factor, which :func:`factor_of` reads."""
    return {f"{name}.{part}": tensor.numpy() for part, tensor in factor.as_tensors().items()}


def factor_of(name: str, tensors: dict[str, NDArray[Any]], size: int, n_blocks: int) -> LabelFactor:
    """A stored factor of `size` columns."""
    shapes: dict[str, tuple[int, ...]] = {
        "triangle": (size, size),
        "projected": (size,),
        "residual": (),
        "prior": (n_blocks,),
    }
    parts = {part: tensor_of(tensors, f"{name}.{part}", shape) for part, shape in shapes.items()}
    parts["n_rows"] = torch.from_numpy(np.array(tensors[f"{name}.n_rows"]))
    return LabelFactor.from_tensors(parts)

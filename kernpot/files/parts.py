"""Parts that model files of every kind have, read with care: whatever goes wrong is told as the file's fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernpot.errors import KernpotError, ModelFileError
from kernpot.regression.factor import LabelFactor

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
    found = float(value)
    require(bool(np.isfinite(found)), f"{value!r} is not a finite number")
    return found


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

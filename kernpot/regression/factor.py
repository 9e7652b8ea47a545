"""Square-root information of one noise group: all its label rows, compressed exactly into one triangle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from scipy.linalg import lapack
from torch import Tensor

from kernpot.errors import NumericalError

_TENSOR_NAMES = ("triangle", "projected", "residual", "n_rows", "prior")


def triangle_of(rows: Tensor) -> Tensor:
    """Triangular factor of a QR decomposition, with non-negative diagonal.

    Parameters
    ----------
    rows : Tensor (n, p)
        Any matrix; not modified.

    Returns
    -------
    Tensor (min(n, p), p)
        Upper triangular (trapezoidal when ``n < p``) ``R`` with ``R^T R = rows^T rows``, computed by Householder
        reflections, hence without squaring the condition number. The sign choice makes it unique at full rank.
    """
    triangle: Tensor = torch.linalg.qr(rows, mode="r")[1]
    signs = torch.where(triangle.diagonal() < 0, -1.0, 1.0).to(triangle.dtype)
    return triangle.mul_(signs[:, None])


# Columns from which on a copy of the rows is too much memory; below, one library does all.
_LARGE = 1024


def columns_first(n: int, p: int, device: torch.device | str = "cpu") -> Tensor:
    """An empty matrix (n, p) whose columns lie one after the other, as LAPACK wants them: see `triangle_in_place`."""
    return torch.empty((p, n), dtype=torch.float64, device=device).mT


def triangle_in_place(rows: Tensor) -> Tensor:
    """As :func:`triangle_of` of a tall matrix whose columns lie one after the other, which holds nothing else then.

    Parameters
    ----------
    rows : Tensor (n, p)
        ``n >= p``, from :func:`columns_first`; overwritten.

    Returns
    -------
    Tensor (p, p)
        A view of the first rows.
    """
    if rows.device.type != "cpu" or rows.shape[1] < _LARGE:
        rows[: rows.shape[1]] = triangle_of(rows)
        return rows[: rows.shape[1]]
    array = rows.numpy()
    lwork = lapack.dgeqrf_lwork(*array.shape)[0]
    found, _, _, info = lapack.dgeqrf(array, lwork=int(lwork), overwrite_a=1)
    if info or found.ctypes.data != array.ctypes.data:
        raise NumericalError(f"LAPACK's dgeqrf gave {info} for a matrix {array.shape}; please report this")
    triangle = rows[: rows.shape[1]].triu_()
    signs = torch.where(triangle.diagonal() < 0, -1.0, 1.0).to(triangle.dtype)
    return triangle.mul_(signs[:, None])


class LabelFactor:
    """Streamed QR of the whitened rows and targets of one noise group.

    For rows ``B`` (n_rows, M) and targets ``y`` (n_rows,) it keeps ``R`` (M, M), ``c`` (M,) and ``rho >= 0`` with

        |y - B v|^2 = |c - R v|^2 + rho      for every v (M,),

    which is all that the evidence and the posterior need to know of the labels, whatever the noise and the amplitudes.
    Rows are collected in a buffer and folded in by a QR of ``[R, c; B_new, y_new]`` (TSQR), so the memory is
    O(M^2) and the result does not depend, beyond rounding, on how the rows were split.

    Make one with :meth:`empty` or :meth:`from_tensors`.
    """

    def __init__(self, work: Tensor, n_used: int, n_rows: int, prior: Tensor) -> None:
        self._work = work
        self._n_used = n_used
        self._compressed = n_used == 0
        self.n_rows = n_rows
        self.prior = prior

    @classmethod
    def empty(cls, n_inducing: int, n_blocks: int, device: torch.device | str = "cpu") -> Self:
        """Return the factor of no labels.

        Parameters
        ----------
        n_inducing : int
            Number of inducing environments M, the length of a row.
        n_blocks : int
            Number of amplitude blocks.
        device : torch.device or str
            Where the triangle lives; rows are moved there.

        Raises
        ------
        ValueError
            If a size is smaller than one.
        """
        if n_inducing < 1 or n_blocks < 1:
            raise ValueError(
                f"a LabelFactor needs at least one inducing environment and one amplitude block, got "
                f"n_inducing={n_inducing} and n_blocks={n_blocks}"
            )
        # Nothing is allocated before there are rows.
        work = columns_first(n_inducing + 1, n_inducing + 1, device)
        return cls(work, 0, 0, torch.zeros(n_blocks, dtype=torch.float64, device=device))

    @property
    def n_inducing(self) -> int:
        """Number of inducing environments M."""
        return self._work.shape[1] - 1

    @property
    def n_blocks(self) -> int:
        """Number of amplitude blocks."""
        return self.prior.shape[0]

    def add(self, rows: Tensor, targets: Tensor, prior_variance: Tensor) -> None:
        """Add labels.

        Parameters
        ----------
        rows : Tensor (n, M)
            Whitened unit-amplitude rows, divided by the labels' relative noise scale.
        targets : Tensor (n,)
            Labels, divided by the same scale.
        prior_variance : Tensor (n, n_blocks)
            Unit-amplitude prior variance of each label from each amplitude block, divided by the square of the scale.

        Raises
        ------
        ValueError
            If the shapes do not fit together or the numbers are not float64.
        NumericalError
            If a number is not finite, or a prior variance is negative.
        """
        n = rows.shape[0]
        for name, value, shape in (
            ("rows", rows, (n, self.n_inducing)),
            ("targets", targets, (n,)),
            ("prior_variance", prior_variance, (n, self.n_blocks)),
        ):
            if tuple(value.shape) != shape or value.dtype != torch.float64:
                raise ValueError(
                    f"{name}: expected a float64 tensor of shape {shape}, got {value.dtype} {tuple(value.shape)}"
                )
            if not bool(torch.isfinite(value).all()):
                raise NumericalError(f"{name}: not every number is finite; check the structures and the descriptor")
        if bool((prior_variance < 0).any()):
            raise NumericalError(f"prior_variance: expected no negative variance, got {float(prior_variance.min())}")
        self._append(rows, targets)
        self.n_rows += n
        self.prior = self.prior + prior_variance.sum(dim=0).to(self.prior)

    def merge(self, other: LabelFactor) -> None:
        """Add all labels of another factor, as if their rows had been added here.

        Raises
        ------
        ValueError
            If the factors differ in the number of inducing environments or of blocks.
        """
        if (self.n_inducing, self.n_blocks) != (other.n_inducing, other.n_blocks):
            raise ValueError(
                f"factors to merge must share their inducing environments: expected (M, n_blocks) = "
                f"{(self.n_inducing, self.n_blocks)}, got {(other.n_inducing, other.n_blocks)}"
            )
        compressed = other._compress()
        self._append(compressed[:, :-1], compressed[:, -1])
        self.n_rows += other.n_rows
        self.prior = self.prior + other.prior.to(self.prior)

    def merged(self, other: LabelFactor) -> LabelFactor:
        """A factor of the labels of both; neither changes."""
        both = type(self).from_tensors(self.as_tensors())
        both.merge(other)
        return both

    @property
    def triangle(self) -> Tensor:
        """``R`` (M, M): upper triangular with non-negative diagonal."""
        return self._square()[:-1, :-1]

    @property
    def projected(self) -> Tensor:
        """``c`` (M,): the targets in the basis of the rows."""
        return self._square()[:-1, -1]

    @property
    def residual(self) -> float:
        """``rho``: the part of ``|y|^2`` that no weights can explain."""
        return float(self._square()[-1, -1]) ** 2

    def as_tensors(self) -> dict[str, Tensor]:
        """Return the whole state as independent tensors, for the model file; see :meth:`from_tensors`."""
        square = self._square()
        return {
            "triangle": square[:-1, :-1].clone(),
            "projected": square[:-1, -1].clone(),
            "residual": square[-1, -1] ** 2,
            "n_rows": torch.tensor(self.n_rows, dtype=torch.int64),
            "prior": self.prior.clone(),
        }

    def multiplied(self, by: float) -> Self:
        """The factor of the same rows and of labels multiplied by a number."""
        tensors = self.as_tensors()
        projected, residual = by * tensors["projected"], by**2 * tensors["residual"]
        return type(self).from_tensors(tensors | {"projected": projected, "residual": residual})

    def of_columns(self, columns: Tensor) -> Self:
        """The factor of the same labels and of some columns of their rows, (m,) int64."""
        triangle = triangle_of(torch.cat([self.triangle[:, columns], self.projected[:, None]], 1))
        m = len(columns)
        square = torch.zeros((m + 1, m + 1), dtype=triangle.dtype, device=triangle.device)
        square[: len(triangle)] = triangle
        return type(self).from_tensors(
            {
                "triangle": square[:m, :m],
                "projected": square[:m, m],
                "residual": square[m, m] ** 2 + self.residual,
                "n_rows": torch.tensor(self.n_rows),
                "prior": self.prior,
            }
        )

    def missed(self, weights: Tensor) -> float:
        """``|y - B v|^2`` at weights ``v`` (M,) of unit-amplitude columns."""
        return float((self.projected - self.triangle @ weights).square().sum()) + float(self.residual)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Rebuild a factor from :meth:`as_tensors`.

        Raises
        ------
        ValueError
            If a tensor is missing, has the wrong shape, or is not the square root of anything.
        """
        missing = [name for name in _TENSOR_NAMES if name not in tensors]
        if missing:
            raise ValueError(
                f"a LabelFactor needs the tensors {', '.join(_TENSOR_NAMES)}; missing: {', '.join(missing)}"
            )
        triangle, projected, residual = (tensors[name] for name in ("triangle", "projected", "residual"))
        m, n_rows, prior = projected.shape[0], int(tensors["n_rows"]), tensors["prior"]
        if triangle.shape != (m, m) or prior.ndim != 1 or not bool((triangle == triangle.triu()).all()):
            raise ValueError(
                f"expected an upper triangle ({m}, {m}) and a vector of prior variances, got {tuple(triangle.shape)} "
                f"and {tuple(prior.shape)}; the stored factor is damaged"
            )
        if not float(residual) >= 0 or n_rows < 0:
            raise ValueError(
                f"expected residual >= 0 and n_rows >= 0, got {float(residual)} and {n_rows}; the stored factor "
                "is damaged"
            )
        factor = cls.empty(m, prior.shape[0], triangle.device)
        factor._work[:m, :m] = triangle
        factor._work[:m, m] = projected
        factor._work[m, :m] = 0.0
        factor._work[m, m] = residual.sqrt()
        factor._n_used, factor._compressed = m + 1, True
        factor.n_rows, factor.prior = n_rows, prior.to(torch.float64).clone()
        return factor

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as the triangle, a third of the buffer."""
        return type(self).from_tensors, (self.as_tensors(),)

    def compact(self) -> None:
        """Give back the memory that waits for more rows; these are welcome all the same."""
        self._square()
        if self._work.shape[0] > self._work.shape[1]:
            self._resize(self._work.shape[1])

    def _resize(self, n: int) -> None:
        work = columns_first(n, self._work.shape[1], self._work.device)
        work[: self._n_used] = self._work[: self._n_used]
        self._work = work

    def _append(self, rows: Tensor, targets: Tensor) -> None:
        if rows.shape[0] and self._work.shape[0] < 3 * self.n_inducing + 1:
            self._resize(3 * self.n_inducing + 1)
        start = 0
        while start < rows.shape[0]:
            if self._n_used == self._work.shape[0]:
                self._compress()
            stop = min(rows.shape[0], start + self._work.shape[0] - self._n_used)
            into = slice(self._n_used, self._n_used + stop - start)
            self._work[into, :-1] = rows[start:stop]
            self._work[into, -1] = targets[start:stop]
            self._n_used, self._compressed, start = into.stop, False, stop

    def _compress(self) -> Tensor:
        """Replace the rows in the buffer by their triangle; return it, at most M + 1 rows."""
        if not self._compressed:
            if self._n_used == self._work.shape[0]:
                # The usual case: without a copy, which would be as large as all else.
                triangle = triangle_in_place(self._work)
            else:
                triangle = triangle_of(self._work[: self._n_used])
                self._work[: len(triangle)] = triangle
            self._n_used, self._compressed = len(triangle), True
        return self._work[: self._n_used]

    def _square(self) -> Tensor:
        """``[[R, c], [0, sqrt(rho)]]`` (M+1, M+1); a view of the buffer."""
        self._compress()
        m = self._work.shape[1]
        if self._n_used < m:
            self._work[self._n_used : m] = 0.0
            self._n_used = m
        return self._work[:m]

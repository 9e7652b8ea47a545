"""Loops compile where nothing can be kept, too."""

from __future__ import annotations

from typing import Any

import pytest

from kernpot import compilation


def test_without_a_folder_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba refuses to cache where package and home are read-only (containers, batch nodes)."""
    real, refused = compilation.njit, []

    def njit(function: Any, **options: Any) -> Any:
        if options.get("cache"):
            refused.append(function)
            raise RuntimeError("cannot cache function: no locator available")
        return real(function, **options)

    def double(x: float) -> float:
        return 2 * x

    monkeypatch.setattr(compilation, "njit", njit)
    assert compilation.compiled(double)(2.0) == 4.0
    assert compilation.compiled_in_order(double)(3.0) == 6.0
    assert refused == [double, double]

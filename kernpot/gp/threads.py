"""Blocks of a structure on several threads: the compiled loops and BLAS run outside Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Results of ``function`` for every item, in their order, on ``torch.get_num_threads()`` threads.

    Each thread runs its own block from descriptor to gradient, which scales better than splitting every matrix product;
    torch's own threads are stilled meanwhile, or there would be the square of their number.
    """
    n = torch.get_num_threads()
    if n == 1 or len(items) == 1:
        yield from map(function, items)
        return
    pool = _pool(n, os.getpid())
    torch.set_num_threads(1)
    try:
        yield from pool.map(function, items)
    finally:
        torch.set_num_threads(n)


@lru_cache(maxsize=1)
def _pool(n: int, process: int) -> ThreadPoolExecutor:  # noqa: ARG001
    """Threads that wait for work; a forked process has none of its parent's, and starts its own."""
    return ThreadPoolExecutor(n, "kernpot", initializer=torch.set_num_threads, initargs=(1,))

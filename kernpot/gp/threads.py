"""Blocks of a structure on several threads: the compiled loops and BLAS run outside Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from threading import Lock
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Results of ``function`` for every item, in their order, on ``torch.get_num_threads()`` threads.

    Each thread runs its own block from descriptor to gradient, which scales better than splitting every matrix product;
    torch's own threads are stilled meanwhile, or there would be the square of their number. The calling thread works
    too: waking it for every result would cost more than the results.
    """
    n = torch.get_num_threads()
    if n == 1 or len(items) == 1:
        return [function(item) for item in items]
    found: dict[int, Result] = {}
    left, lock = iter(range(len(items))), Lock()

    def work() -> None:
        try:
            while True:
                with lock:
                    k = next(left, None)
                if k is None:
                    return
                found[k] = function(items[k])
        except BaseException:
            with lock:
                for _ in left:  # so that the others stop as well
                    pass
            raise

    torch.set_num_threads(1)
    others = [_pool(n - 1, os.getpid()).submit(work) for _ in range(n - 1)]
    try:
        work()
    finally:
        wait(others)
        torch.set_num_threads(n)
    for other in others:
        other.result()
    return [found[k] for k in range(len(items))]


@lru_cache(maxsize=1)
def _pool(n: int, process: int) -> ThreadPoolExecutor:  # noqa: ARG001
    """Threads that wait for work; a forked process has none of its parent's, and starts its own."""
    return ThreadPoolExecutor(n, "kernpot", initializer=torch.set_num_threads, initargs=(1,))

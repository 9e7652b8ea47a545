"""Blocks of a structure on several threads: the compiled loops and BLAS run outside Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], n_threads: int | None = None) -> list[Result]:
    """Results of ``function`` for every item, in their order, on as many threads as given, or as torch has.

    Each thread runs its own block from descriptor to gradient, which scales better than splitting every matrix product;
    torch's own threads are stilled meanwhile, or there would be the square of their number. The calling thread works
    too: waking it for every result would cost more than the results.
    """
    of_torch = torch.get_num_threads()
    n = of_torch if n_threads is None else n_threads
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

    others: list[Future[None]] = []
    try:
        torch.set_num_threads(1)
        others += [_pool(n - 1, os.getpid()).submit(work) for _ in range(n - 1)]
        work()
    finally:
        wait(others)
        torch.set_num_threads(of_torch)
    for other in others:
        other.result()
    return [found[k] for k in range(len(items))]


@contextmanager
def one_thread() -> Iterator[int]:
    """Torch on one thread, giving the number there was.

    Small products gain nothing from several, which wait for one another, above all on a busy machine; and sums come out
    the same whatever that number is. What is worth it is shared out by :func:`in_threads`.
    """
    n = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        yield n
    finally:
        torch.set_num_threads(n)


# A forked process has none of the threads that torch's (OpenMP's) loops would wait for: it computes on its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@lru_cache(maxsize=1)
def _pool(n: int, process: int) -> ThreadPoolExecutor:  # noqa: ARG001
    """Threads that wait for work; a forked process has none of its parent's, and starts its own."""
    return ThreadPoolExecutor(n, "kernpot", initializer=torch.set_num_threads, initargs=(1,))

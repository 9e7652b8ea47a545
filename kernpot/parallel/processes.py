"""Pieces of work on other processes, of this machine or of a cluster, which may lose one of them on the way."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from joblib import Parallel, delayed, effective_n_jobs
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import get_active_backend

from kernpot.errors import KernpotError
from kernpot.parallel.attended import attended

Result = TypeVar("Result")

# Processes lost in a row, without a result in between, after which something is wrong with the work itself.
_LOSSES = 3


def shared_out(n_jobs: int | None) -> bool:
    """Whether work is worth sharing out: with more than one process, here or where ``joblib.parallel_config`` says."""
    return bool(effective_n_jobs(n_jobs) != 1)


def in_processes(
    function: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], n_jobs: int | None
) -> Iterator[Result]:
    """Results of a function for every tuple of arguments, in their order; only a few are in memory at a time.

    A process that is lost costs the pieces it was working on: they are done again. Dask sees to that itself, for
    processes of joblib (loky) and of Ray the rest is begun anew on new ones. Processes of joblib end when this one
    does, also where it is killed.

    Parameters
    ----------
    function : callable
        Importable by the processes.
    arguments : sequence of tuple
    n_jobs : int, optional
        Processes, as joblib takes them.

    Raises
    ------
    KernpotError
        Processes are lost again and again.
    """
    done, losses = 0, 0
    while done < len(arguments):
        try:
            with warnings.catch_warnings():
                # Dask would have large data brought to workers beforehand; what is there is lost with a worker.
                warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
                for result in _results(
                    [delayed(attended)(os.getpid(), function, *some) for some in arguments[done:]], n_jobs
                ):
                    done, losses = done + 1, 0
                    yield result
        except _lost_for_good() as error:
            raise _given_up(error) from error
        except _lost() as error:
            losses += 1
            if losses == _LOSSES:
                raise _given_up(error) from error


def _results(jobs: Sequence[Any], n_jobs: int | None) -> Iterator[Any]:
    """Results in order, as they come; a few at a time from backends (Ray's) that only give all of them together."""
    if get_active_backend()[0].supports_return_generator:
        yield from Parallel(n_jobs=n_jobs, return_as="generator")(jobs)
        return
    together = 2 * effective_n_jobs(n_jobs)
    with Parallel(n_jobs=n_jobs, batch_size=1) as processes:
        for first in range(0, len(jobs), together):
            yield from processes(jobs[first : first + together])


def _lost() -> tuple[type[BaseException], ...]:
    """What says that a process was lost with what it was working on."""
    ray = sys.modules.get("ray")
    return (TerminatedWorkerError,) if ray is None else (TerminatedWorkerError, ray.exceptions.RayActorError)


def _lost_for_good() -> tuple[type[BaseException], ...]:
    """What Dask raises when a piece has taken several workers with it; nothing where there is no Dask."""
    distributed = sys.modules.get("distributed")
    return () if distributed is None else (distributed.scheduler.KilledWorker,)


def _given_up(error: BaseException) -> KernpotError:
    return KernpotError(
        f"worker processes were lost {_LOSSES} times or more over the same work, most likely for lack of memory "
        f"({type(error).__name__}). Use fewer processes at a time (n_jobs), fewer inducing environments, or workers "
        "with more memory; the potential is as it was."
    )

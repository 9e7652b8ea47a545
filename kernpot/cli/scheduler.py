"""Work on a Dask cluster that somebody has started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import joblib

from kernpot.cli.console import console, shown
from kernpot.errors import KernpotError

# Seconds to wait for an answer.
_PATIENCE = 10


@contextmanager
def on_cluster(address: str | None) -> Iterator[None]:
    """Share joblib's work out to the workers of a scheduler; without an address, nothing changes.

    Raises
    ------
    KernpotError
        Dask is not installed, no scheduler answers, or its workers have none or another version of kernpot.
    """
    if address is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise KernpotError(f"a cluster needs Dask ({error}): pip install 'kernpot[cluster]'") from None
    try:
        client = Client(address, timeout=_PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise KernpotError(
            f"expected a Dask scheduler at {address}, none answered within {_PATIENCE} s ({error}); start one with "
            "'dask scheduler' and workers with 'dask worker ADDRESS'."
        ) from None
    with client:
        _check_workers(client.run(_installed), address)
        with joblib.parallel_config(backend="dask", client=client):
            yield


def _installed() -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("kernpot")
    except PackageNotFoundError:
        return None


def _check_workers(found: dict[str, str | None], address: str) -> None:
    own = version("kernpot")
    if not found:
        raise KernpotError(f"the scheduler at {address} has no workers; start some with 'dask worker {address}'.")
    for worker, other in found.items():
        if other != own:
            raise KernpotError(
                f"the worker {worker} has kernpot {other or 'not installed'}, expected {own} as here: install the same "
                "version in every worker's environment."
            )
    console.print(f"{len(found)} worker(s) of the scheduler at {shown(address)}")

"""What cluster.py measured, for docs/cluster.md."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.shared.results import read_result
from benchmarks.shared.tables import table


def cluster() -> str:
    """Times of a fit, and what a share weighs."""
    r = read_result("engines/cluster")
    one = r["seconds"]["1 process"]["rows"]
    rows = [[name, f"{s['rows']:.1f}", f"{one / s['rows']:.2f}", f"{s['all']:.1f}"] for name, s in r["seconds"].items()]
    same = "has" if r["dask_has_the_bits_of_two_processes"] else "has not"
    return (
        f"Measured by `python -m benchmarks engines cluster` "
        f"on the {r['structures']} structures of the published Si training part, "
        f"{r['n_inducing']} inducing environments, {r['on']['cores']} cores; the time holds the start of the "
        "processes.\n\n"
        + table(["", "rows, s", "times one process", "whole fit, s"], rows)
        + f"\n\nThere were {r['shares']} shares of {r['bytes_there'] / 1e6:.0f} MB there and "
        f"{r['bytes_back'] / 1e6:.0f} MB back. The fit on Dask {same} the bits of that on two processes; forces of the "
        "two differ from those of one "
        f"process by at most {r['largest_force_difference_to_one_process']:.0e} eV/A."
    )


SECTIONS: dict[str, Callable[[], str]] = {"cluster": cluster}

"""What metatomic_cost.py measured, for docs/metatomic.md."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.shared.results import read_result
from benchmarks.shared.tables import table


def metatomic() -> str:
    """Times per atom, and the size of the file."""
    r = read_result("engines/metatomic")
    names = ["metatomic", "metatomic, uncertain atoms watched", "energies of 16 draws"]
    rows = []
    for n, seconds in r["seconds"].items():
        own = seconds["kernpot"]
        cells = [f"{1e3 * seconds[name] / int(n):.3f} ({seconds[name] / own:.1f})" for name in names]
        rows.append([f"{int(n):,}", f"{1e3 * own / int(n):.3f}", *cells])
    header = ["atoms", "kernpot's calculator", "the file", "the file, `uncertainty_threshold=0.1`", names[2]]
    return (
        f"Measured by `python -m benchmarks engines metatomic_cost` "
        f"on a fit of the published Si training part, {r['n_inducing']} "
        "inducing environments, one thread; ms per atom of energy, forces and stress (last column: energies alone), "
        "in brackets times kernpot's calculator.\n\n"
        + table(header, rows)
        + f"\n\nThe file with {r['draws']} draws has {r['bytes'] / 1e6:.0f} MB; its forces differ from kernpot's by at "
        f"most {r['largest_force_difference']:.0e} eV/A."
    )


SECTIONS: dict[str, Callable[[], str]] = {"metatomic": metatomic}

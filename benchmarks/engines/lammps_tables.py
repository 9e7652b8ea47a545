"""Tables of what lammps_scaling.py measured, and what 1,000 ranks would do, for docs/lammps.md."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks.shared.results import written
from benchmarks.shared.tables import not_yet, table

_NOT_YET = not_yet("engines lammps_scaling")
# What the estimate takes for a network: latency of a message (s), rate of a rank (bytes/s).
_LATENCY, _RATE = 2e-6, 2e9
_MANY = 1000
_VECTOR = 24  # bytes of three doubles
_SUMS = 72  # bytes of energy, virial and two flags, summed over all ranks


def _of_stored(text: Callable[[dict[str, Any]], str]) -> Callable[[], str]:
    def told() -> str:
        stored = written("engines/lammps_scaling")
        return _NOT_YET if stored is None else text(stored)

    return told


def _of_kind(r: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [c for c in r["cases"] if c["kind"] == kind]


@_of_stored
def scaling(r: dict[str, Any]) -> str:
    """Time per step on one and two ranks."""
    rows = []
    for kind in ("strong", "weak"):
        cases = _of_kind(r, kind)
        for one, two in zip(cases[::2], cases[1::2], strict=True):
            ratio = one["seconds_per_step"] / two["seconds_per_step"]
            efficiency = ratio / 2 if kind == "strong" else ratio
            ase = [a["seconds_per_step"] for a in r["ase"] if kind == "strong" and a["atoms"] == one["atoms"]]
            rows.append(
                [
                    kind,
                    f"{one['atoms']:,}" + (f" and {two['atoms']:,}" if kind == "weak" else ""),
                    f"{1e3 * ase[0]:.1f}" if ase else "-",
                    f"{1e3 * one['seconds_per_step']:.1f}",
                    f"{1e3 * two['seconds_per_step']:.1f}",
                    f"{100 * efficiency:.0f} %",
                    f"{one['ghosts'] / one['own']:.2f}, {two['ghosts'] / two['own']:.2f}",
                    f"{two['bytes_sent'] / 1e3:.0f}",
                ]
            )
    header = ["scaling", "atoms", "ASE, ms per step", "1 rank, ms", "2 ranks, ms", "efficiency of 2"]
    header += ["ghosts per own atom", "sent per rank and step, kB"]
    return table(header, rows)


@_of_stored
def stds(r: dict[str, Any]) -> str:
    """What error bars cost, in steps without them."""
    free, energy, force = _of_kind(r, "std")
    step = free["seconds_per_step"]
    each = force["force_std_every"] * (force["seconds_per_step"] - step) / step
    of_energies = (energy["seconds_per_step"] - step) / step
    told = (
        f"On {free['atoms']:,} atoms and one rank, exact stds of all forces cost as much as {each:.0f} steps without "
        f"error bars, those of all atoms' energies as {of_energies:.1f}."
    )
    rows = []
    plain = {(c["atoms"], c["ranks"]): c for c in _of_kind(r, "strong")}
    by_draws = _of_kind(r, "draws")
    for one, two in zip(by_draws[::2], by_draws[1::2], strict=True):
        seconds = [c["seconds_per_step"] for c in (one, two)]
        without = [plain[c["atoms"], c["ranks"]]["seconds_per_step"] for c in (one, two)]
        rows.append(
            [
                f"{one['atoms']:,}",
                *(f"{1e3 * s:.1f} ({s / w:.2f})" for s, w in zip(seconds, without, strict=True)),
                f"{50 * seconds[0] / seconds[1]:.0f} %",
                f"{one['memory_GB']:.2f}, {two['memory_GB']:.2f}",
            ]
        )
    if not rows:
        return told
    header = ["atoms", "1 rank, ms per step (steps without)", "2 ranks, ms (steps without)", "efficiency of 2"]
    lead = 'With stds of all forces by shared draws (`error_bars="draws"`) at every step:'
    return "\n\n".join([told, lead, table([*header, "memory of a rank, GB"], rows)])


def _ghosts(own: float, density: float, reach: float) -> float:
    """Atoms within a distance of a cube that holds some."""
    edge = (own / density) ** (1 / 3)
    return float(density * ((edge + 2 * reach) ** 3 - edge**3))


def cost_of_atoms(r: dict[str, Any]) -> tuple[float, float]:
    """Seconds per step of an own atom and of a ghost, by least squares of relative errors over one rank's runs."""
    cases = [c for c in r["cases"] if c["ranks"] == 1 and c["kind"] != "std"]
    measured = np.array([c["seconds_per_step"] for c in cases])
    counts = np.array([[c["own"], c["ghosts"]] for c in cases])
    own, ghost = nnls(counts / measured[:, None], np.ones(len(cases)))[0]
    return float(own), float(ghost)


@_of_stored
def estimate(r: dict[str, Any]) -> str:
    """A thousand ranks, on paper, with the ghosts of LAMMPS's geometry."""
    own_cost, ghost_cost = cost_of_atoms(r)
    reach = r["cutoff"] + r["skin"]
    rows = []
    for own in (100, 1000, 10000):
        ghosts = _ghosts(own, r["density"], reach)
        compute = own_cost * own + ghost_cost * ghosts
        # Positions come (LAMMPS) and forces go back (kernpot), each once per ghost; up to 26 partners, and one sum.
        moved = 2 * _VECTOR * ghosts
        messages = 2 * 26 * _LATENCY + moved / _RATE
        sums = 2 * math.log2(_MANY) * (_LATENCY + _SUMS / _RATE)
        step = compute + messages + sums
        rows.append(
            [
                f"{own * _MANY:,}",
                f"{own:,}",
                f"{ghosts / own:.1f}",
                f"{moved / 1e3:.0f}",
                f"{1e3 * compute:.2f}",
                f"{1e3 * (messages + sums):.3f}",
                f"{100 * own_cost * own / step:.0f} %",
            ]
        )
    header = ["atoms in all", "own atoms per rank", "ghosts per own atom", "to and from a rank, kB"]
    header += ["computing, ms", "messages, ms", "efficiency"]
    two = [c for c in r["cases"] if c["ranks"] == 2]
    errors = [(own_cost * c["own"] + ghost_cost * c["ghosts"]) / c["seconds_per_step"] - 1 for c in two]
    check = (
        f"An own atom costs {1e6 * own_cost:.1f} µs per step and a ghost {1e6 * ghost_cost:.2f} µs (least squares over "
        f"the runs on one rank); with these the runs on two ranks come out within {100 * max(map(abs, errors)):.0f} %. "
        f"Assumed, not measured: {1e6 * _LATENCY:.0f} µs a message, {_RATE / 1e9:.0f} GB/s a rank, cubic domains."
    )
    return table(header, rows) + "\n\n" + check


def styles() -> str:
    """Time per atom and step of pair styles."""
    stored = written("engines/pair_styles")
    if stored is None:
        return not_yet("engines pair_styles")
    names = list(dict.fromkeys(case["style"] for case in stored["cases"]))
    sizes = list(dict.fromkeys((case["atoms"], case["ranks"]) for case in stored["cases"]))

    def of(name: str, atoms: int, ranks: int) -> float:
        (found,) = (
            c["seconds_per_step"]
            for c in stored["cases"]
            if (c["style"], c["atoms"], c["ranks"]) == (name, atoms, ranks)
        )
        return float(found)

    largest = max(atoms for atoms, ranks in sizes if ranks == 2)
    rows = []
    for name in names:
        times = [f"{1e6 * of(name, *size) / size[0]:.1f}" for size in sizes]
        efficiency = of(name, largest, 1) / of(name, largest, 2) / 2
        rows.append([name, *times, f"{100 * efficiency:.0f} %"])
    alone = {row["atoms"]: f"{1e6 * row['seconds_per_step'] / row['atoms']:.1f}" for row in stored["calculator"]}
    rows.append(["calculator, neighbours given", *(alone[a] if n == 1 else "-" for a, n in sizes), "-"])
    header = ["µs per atom and step", *(f"{a:,} atoms, {n} rank{'s' * (n > 1)}" for a, n in sizes), "efficiency of 2"]
    return table(header, rows)


SECTIONS: dict[str, Callable[[], str]] = {
    "lammps_scaling": scaling,
    "lammps_stds": stds,
    "lammps_estimate": estimate,
    "pair_styles": styles,
}

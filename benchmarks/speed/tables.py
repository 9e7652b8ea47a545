"""Tables of what beside.py measured, for the texts; report.py puts them in their places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.shared.results import written
from benchmarks.shared.tables import SYSTEM_NAMES, not_yet, table

_CODES = {
    "kernpot": "kernpot",
    "kernpot_searching": "kernpot, new neighbour list each time",
    "kernpot_std": "kernpot, every mean and std",
    "gap": "GAP, mean",
    "flare": "FLARE",
}


def of_part(part: str) -> Callable[[Callable[[dict[str, Any]], str]], Callable[[], str]]:
    """Make a text of the stored result of a part, or of what is to be done where there is none."""

    def decorate(text: Callable[[dict[str, Any]], str]) -> Callable[[], str]:
        def of_stored() -> str:
            found = (written("speed/speed") or {}).get(part)
            if found is None:
                return not_yet(f"speed {part}")
            if "skipped" in found:
                return f"Skipped: {found['skipped']}."
            return text(found)

        return of_stored

    return decorate


def _ratio(spread: dict[str, float]) -> str:
    digits = 1 if spread["median"] >= 10 else 2
    low, middle, high = (f"{spread[key]:.{digits}f}" for key in ("min", "median", "max"))
    return f"{middle}x ({low} to {high})"


def _time(spread: dict[str, float] | None) -> str:
    return "-" if spread is None else f"{spread['median']:.3g}"


@of_part("fit")
def fit(r: dict[str, Any]) -> str:
    """Fit beside gap_fit."""
    rows = [
        [
            name,
            f"{r['fit'][code]['cpu_s']:.0f}",
            f"{r['fit'][code]['peak_memory_GB']:.2f}",
            f"{r['test'][code]['energy_mae_meV']:.2f}",
            f"{r['test'][code]['force_mae']:.3f}",
        ]
        for code, name in (("kernpot", "kernpot"), ("gap_fit", "gap_fit (quippy-ase)"))
    ]
    header = ["fit of Si, M = 1000, one core", "CPU s", "peak memory, GB"]
    header += ["test energy MAE, meV/atom", "test force MAE, eV/A"]
    ratio = r["ratio"]
    return (
        f"{table(header, rows)}\n\ngap_fit takes {ratio['cpu_s']:.1f} times the CPU time of kernpot's fit and "
        f"{ratio['peak_memory_GB']:.1f} times its memory."
    )


@of_part("mean")
def mean(r: dict[str, Any]) -> str:
    """Means beside the peers."""
    return _beside(r, ["kernpot", "kernpot_searching"])


@of_part("std")
def std(r: dict[str, Any]) -> str:
    """Standard deviations beside GAP's mean."""
    growth = r["largest_over_smallest_per_atom"]
    return f"{_beside(r, ['kernpot_std'])}\n\nPer atom the largest silicon cell takes {growth:.2f} of the smallest."


def _beside(r: dict[str, Any], ours: list[str]) -> str:
    peers = [code for code in ("gap", "flare") if any(code in row["ms_per_atom"] for row in r["rows"])]
    header = ["CPU ms/atom", *(_CODES[code] for code in [*ours, *peers])]
    header += [f"{_CODES[peer].split(',')[0]} / kernpot" for peer in peers]
    rows = []
    for row in r["rows"]:
        times = [_time(row["ms_per_atom"].get(code)) for code in [*ours, *peers]]
        ratios = [_ratio(row["ratio"][key]) if (key := f"{p}/{ours[0]}") in row["ratio"] else "-" for p in peers]
        rows.append([f"{SYSTEM_NAMES[row['system']]}, {row['atoms']:,} atoms", *times, *ratios])
    return table(header, rows)


@of_part("size")
def size(r: dict[str, Any]) -> str:
    """A mean at 10^5 atoms."""
    row = r["rows"][0]
    (pair,) = row["ratio"]
    large, small = (int(n) for n in pair.split("/"))
    times = row["ms_per_atom"]
    return (
        f"A mean of {large:,} Si atoms takes {times[str(large)]['median']:.3g} ms/atom, "
        f"{_ratio(row['ratio'][pair])} that at {small:,} atoms, and {r['peak_memory_GB']:.2f} GB."
    )


@of_part("threads")
def threads(r: dict[str, Any]) -> str:
    """A second core."""
    load = max(r["machine"]["load_average"][0], r["machine"]["load_average_after"][0])
    rows = [
        [
            f"{row['atoms']:,} atoms",
            *(_time(t) for t in row["ms_per_atom"].values()),
            *map(_ratio, row["ratio"].values()),
        ]
        for row in r["rows"]
    ]
    header = ["mean, wall ms/atom", "one thread", "two threads", "speed-up"]
    return (
        f"{table(header, rows)}\n\nThe load average of the machine was {load:.1f} at most, this measurement included."
    )


@of_part("memory")
def memory(r: dict[str, Any]) -> str:
    """Memory of fits of few and many structures."""
    rows = [
        [f"{row['structures']:,}", f"{row['atoms']:,}", f"{row['cpu_s']:.0f}", f"{row['peak_memory_GB']:.3f}"]
        for row in r["rows"]
    ]
    return table(["structures", "atoms", "fit of Si, M = 1000, CPU s", "peak memory, GB"], rows)


@of_part("device")
def device(r: dict[str, Any]) -> str:
    """An accelerator; so far there is only a reason to skip it."""
    return f"Skipped: {r['skipped']}."


@of_part("stages")
def rates(r: dict[str, Any]) -> str:
    """Ceilings of the machine."""
    m, s = r["rates"], r["sizes"]
    return (
        f"One thread of this machine multiplies matrices at {m['dgemm']:.0f} GFLOP/s (dgemm), solves triangular "
        f"systems at {m['trsm']:.0f}, factorises by QR at {m['qr']:.0f}, and moves {m['memory']:.0f} GB/s. The model "
        f"is that of the table: {s['neighbours']:.0f} neighbours, n_max {s['n_max']}, l_max {s['l_max']}, "
        f"{s['n_features']} features, inducing environments in {s['n_directions']} directions"
        + f", M = {s['n_inducing']:,}, zeta = {s['zeta']}."
    )


def stages(name: str) -> Callable[[], str]:
    """Stages of a mean, a std or a fit beside their floors."""

    @of_part("stages")
    def text(r: dict[str, Any]) -> str:
        rows = []
        for stage, row in r[name].items():
            counted = "floor_ms" in row
            rows.append(
                [
                    stage,
                    f"{1e-3 * row['operations']:,.0f}" if counted else "-",
                    f"{1e-3 * row['bytes']:.1f}" if counted else "-",
                    f"{1e3 * row['floor_ms']:.2f}" if counted else "-",
                    f"{1e3 * row['ms_per_atom']:.2f}",
                    f"{row['ms_per_atom'] / row['floor_ms']:.1f}x" if counted else "-",
                ]
            )
        header = ["stage", "thousand operations per atom", "kB per atom", "floor, us/atom", "measured, us/atom"]
        return table([*header, "distance"], rows)

    return text


@of_part("mean")
def machine(r: dict[str, Any]) -> str:
    """What the speed was measured on."""
    m = r["machine"]
    caches = ", ".join(f"{name} {size}" for name, size in m["caches"].items())
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    return f"{m['cpu']}, {m['cores']} cores ({caches}), {m['memory_GB']:.0f} GB; Python {m['python']}, {versions}."


def two_ways() -> str:
    """What error bars cost beside the mean, either way."""
    if (stored := written("speed/two_ways")) is None:
        return not_yet("speed two_ways")
    rows = []
    for name in ("Si", "3bpa", "nbmotaw"):
        for cell, r in (stored.get(name) or {}).items():
            if not isinstance(r, dict):
                continue
            ms = {way: f"{1e3 * r['ms_per_atom'][way]['median']:.0f}" for way in ("mean", "draws", "exact")}
            found = [_ratio(r["ratio"][way]) for way in ("draws", "exact", "twenty")]
            rows.append([f"{SYSTEM_NAMES.get(name, name)}, {int(cell):,} atoms", *ms.values(), *found])
    header = ["CPU us/atom", "mean", "mean and every std by draws", "exact", "by draws / mean", "exact / mean"]
    text = table([*header, "20 draws together / mean"], rows)
    large = stored["large"]
    return text + (
        f"\n\nMean and every std by draws of {large['atoms']:,} Si atoms: {large['cpu_s']:.0f} CPU s with loading and "
        f"compiling, {large['peak_memory_GB']:.1f} GB."
    )


SECTIONS: dict[str, Callable[[], str]] = {
    "machine": machine,
    "two_ways": two_ways,
    "fit": fit,
    "memory": memory,
    "mean": mean,
    "std": std,
    "size": size,
    "threads": threads,
    "device": device,
    "rates": rates,
    "stages_mean": stages("mean"),
    "stages_std": stages("std"),
    "stages_fit": stages("fit"),
}

"""Tables of what told.py and slopes.py found, for docs/checks.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from benchmarks.shared.results import written
from benchmarks.shared.tables import not_yet, table

SHOWN = ("refused", "warned", "read right", "silent")


def told() -> str:
    """Outcomes before and now, by kind, and the shares that were told or read right."""
    if (r := written("inputs/told")) is None or not {"before", "now"} <= r.keys():
        return not_yet("inputs told")
    rows, sums = [], {"before": Counter[str](), "now": Counter[str]()}
    for kind in r["now"]:
        cells = []
        for version, total in sums.items():
            counts = Counter(r[version][kind].values())
            total.update(counts)
            cells.append(", ".join(f"{counts[name]} {name}" for name in SHOWN if counts[name]))
        rows.append([kind, str(len(r["now"][kind])), *cells])
    shares = {version: (total.total() - total["silent"], total.total()) for version, total in sums.items()}
    rows.append(["**all, told or right**", "", *(f"**{good} of {n}**" for good, n in shares.values())])
    return table(["wrong input", "tried", "before", "now"], rows)


def slopes() -> str:
    """Slopes on right sets."""
    if (r := written("inputs/slopes")) is None:
        return not_yet("inputs slopes")
    rows = [
        [name, ", ".join(f"{line['slope']:.2f} ({line['correlation']:.2f})" for line in lines)]
        for name, lines in r["sets"].items()
    ]
    return table(["set", "slope (correlation) of each kind on the others"], rows)


SECTIONS: dict[str, Callable[[], str]] = {"told": told, "slopes": slopes}

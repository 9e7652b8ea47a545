"""How many labels of each kind every file of a set holds: where half of them were lost, it shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kernpot.structures.kinds import LABEL_KINDS

NO_FILE = "(no file)"
"""Where structures are counted that were not read from a file."""


def count_by_file(structures: Iterable[tuple[str, Iterable[str]]]) -> dict[str, dict[str, int]]:
    """Structures of each file, and how many of them have a label of each kind.

    Parameters
    ----------
    structures : iterable of (str, iterable of str)
        Source of each structure, such as ``train.xyz#3``, and the kinds of labels that it has.

    Returns
    -------
    dict
        By file, in the order of their first structures: ``structures``, ``energy``, ``forces``, ``stress``, and further
        kinds that occur.
    """
    counts: dict[str, dict[str, int]] = {}
    for source, kinds in structures:
        file, numbered, _ = source.rpartition("#")
        count = counts.setdefault(file if numbered else NO_FILE, dict.fromkeys(("structures", *LABEL_KINDS), 0))
        for name in ("structures", *kinds):
            count[name] = count.get(name, 0) + 1
    return counts


def counts_in_words(count: Mapping[str, int]) -> str:
    """Such as ``20 structures: energy 20, forces 10, stress 0``."""
    kinds = ", ".join(f"{kind} {n}" for kind, n in count.items() if kind != "structures")
    return f"{count['structures']} structures: {kinds}"

"""One HTML page about labelled structures that opens from disk: everything it shows is inside the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from kernpot.dynamics.run_directory import write_atomically
from kernpot.report.findings import Finding
from kernpot.report.html import WORDS, Picture, as_number, embedded
from kernpot.report.inspection.facts import Inspection
from kernpot.report.inspection.plots import contact_plot, energy_volume_plot, spread_plot
from kernpot.report.pages import templates
from kernpot.structures.kinds import LABEL_KINDS

CAPTIONS = {
    "spread": "How the structures spread, by group; the few values beyond 99 % of them are in the outermost bars.",
    "energy_volume": "Energies per atom, those of the isolated atoms taken off, against volume.",
    "contacts": "The two closest atoms of each pair of elements, in all structures.",
}
_MOST_ROWS = 30


def write_inspection(path: Path, title: str, found: Inspection, findings: Sequence[Finding]) -> None:
    """Write the page.

    Raises
    ------
    RunDirectoryError
        When the disk refuses it.
    """
    environment = templates(number=as_number)
    drawn = {"spread": spread_plot(found), "energy_volume": energy_volume_plot(found), "contacts": contact_plot(found)}
    pictures = [Picture(embedded(figure), CAPTIONS[name]) for name, figure in drawn.items() if figure is not None]
    page = environment.get_template("inspection/page.html.j2").render(
        title=title,
        lead=f"{len(found.labelled)} structures, {found.n_atoms} atoms.",
        findings=findings,
        words=WORDS,
        tables=[("Files", found.files), ("Groups (config_type)", found.groups)],
        kinds=LABEL_KINDS,
        ranges=ranges(found),
        contacts=contacts(found),
        elements=found.elements,
        isolated=found.isolated,
        compositions=list(found.compositions.items())[:_MOST_ROWS],
        n_compositions=len(found.compositions),
        pictures=pictures,
    )
    write_atomically(path, page)


def ranges(found: Inspection) -> list[dict[str, Any]]:
    """Least, middle and largest value of each quantity, and the structures that have the extremes."""
    rows = []
    for quantity in found.quantities:
        low, high = int(quantity.values.argmin()), int(quantity.values.argmax())
        rows.append(
            {
                "name": quantity.name,
                "unit": quantity.unit,
                "n": len(quantity.values),
                "low": float(quantity.values[low]),
                "median": float(np.median(quantity.values)),
                "high": float(quantity.values[high]),
                "lowest": found.labelled[int(quantity.members[low])].source,
                "highest": found.labelled[int(quantity.members[high])].source,
            }
        )
    return rows


def contacts(found: Inspection) -> list[dict[str, Any]]:
    """Closest atoms of each pair of elements."""
    return [
        {
            "pair": "-".join(chemical_symbols[z] for z in pair),
            "distance": contact.distance,
            "source": found.labelled[contact.structure].source,
        }
        for pair, contact in found.contacts.items()
    ]

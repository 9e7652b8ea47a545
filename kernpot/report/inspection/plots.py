"""Plots of what labelled structures hold: how each number is spread over groups, and how close atoms come."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from ase.data import chemical_symbols, covalent_radii
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kernpot.report.inspection.facts import Inspection, Part, Quantity
from kernpot.report.panels import STYLE, in_order, legend_beside, looks, new_figure, shared_out
from kernpot.report.plain import plot_text

_COLUMNS = 3
_MOST_PAIRS = 15


def spread_plot(found: Inspection) -> Figure:
    """A histogram of each quantity, by group; values beyond the range that holds nearly all are in the last bars."""
    quantities = [q for q in found.quantities if np.ptp(q.values) > 0]
    n_rows = max(-(-len(quantities) // _COLUMNS), 1)
    with mpl.rc_context(STYLE):
        figure, grid = new_figure(12.4, 2.6 * n_rows, n_rows, _COLUMNS, squeeze=False)
        for axes, quantity in zip(grid.ravel(), quantities, strict=False):
            _histogram(axes, quantity, found.groups)
        for axes in grid.ravel()[len(quantities) :]:
            axes.set_axis_off()
        legend_beside(figure)
    return figure


def energy_volume_plot(found: Inspection) -> Figure | None:
    """Energies against volumes, by group; None where structures do not have both."""
    energy, volume = found.quantity("Energy less atoms"), found.quantity("Volume")
    if energy is None or volume is None:
        return None
    both, of_energy, of_volume = np.intersect1d(energy.members, volume.members, return_indices=True)
    if not both.size:
        return None
    names = _names(found.groups)
    look = looks(names)
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(7.2, 4.2, 1, 1)
        for name, members in shared_out(names).items():
            chosen = np.isin(both, _members(found.groups, members))
            if chosen.any():
                own = look[name] | {"markersize": 3.5}
                axes.plot(
                    volume.values[of_volume[chosen]], energy.values[of_energy[chosen]], label=plot_text(name), **own
                )
        axes.set(xlabel="volume (Å³/atom)", ylabel="energy less atoms (eV/atom)", title="Energies and volumes")
        legend_beside(figure)
    return figure


def contact_plot(found: Inspection) -> Figure | None:
    """Shortest distance of each pair of elements, beside the sum of covalent radii; None where atoms are far apart."""
    pairs = list(found.contacts.items())[:_MOST_PAIRS]
    if not pairs:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(7.2, 1.3 + 0.3 * len(pairs), 1, 1)
        place = np.arange(len(pairs))[::-1]
        axes.barh(place, [contact.distance for _, contact in pairs], color="#0072B2", height=0.6, label="closest atoms")
        radii = [sum(covalent_radii[z] for z in pair) for pair, _ in pairs]
        axes.plot(radii, place, "|", color="#000000", markersize=14, label="sum of covalent radii")
        axes.set_yticks(place, ["-".join(chemical_symbols[z] for z in pair) for pair, _ in pairs])
        axes.set(xlabel="distance (Å)", title="Closest atoms by pair of elements", ylim=(-0.7, len(pairs) - 0.3))
        legend_beside(figure)
    return figure


def _histogram(axes: Axes, quantity: Quantity, parts: list[Part]) -> None:
    low, high = np.quantile(quantity.values, [0.005, 0.995])
    if low == high:
        low, high = float(quantity.values.min()), float(quantity.values.max())
    edges = np.linspace(low, high, 31)
    names = _names(parts)
    values = [
        np.clip(quantity.values[np.isin(quantity.members, _members(parts, members))], low, high)
        for members in shared_out(names).values()
    ]
    look = looks(names)
    colours = [own["color"] for own in look.values()]
    axes.hist(values, edges.tolist(), stacked=True, color=colours, label=[plot_text(name) for name in look])
    unit = f" ({quantity.unit})" if quantity.unit else ""
    axes.set(xlabel=f"{quantity.name.lower()}{unit}", ylabel="structures")


def _members(parts: list[Part], names: tuple[str, ...]) -> list[int]:
    return [k for part in parts if part.name in names for k in part.members]


def _names(parts: list[Part]) -> list[str]:
    return in_order({part.name: len(part.members) for part in parts})

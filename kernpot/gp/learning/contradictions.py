"""Labels of a fit that contradict one another: one kind as a whole, or else those of single structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from kernpot.calibration.kinds import SHARP, EnergyRows, between_kinds
from kernpot.gp.fitted import FittedGP
from kernpot.gp.learning.agreement import Agreement
from kernpot.gp.learning.odd_energies import odd_energies
from kernpot.gp.learning.start import START, starting_noise
from kernpot.gp.rows.sketch import Sketches
from kernpot.regression.posterior import Posterior
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import kind_of
from kernpot.structures.plausibility import LabelFinding
from kernpot.structures.reference import is_isolated_atom

# Dimers are a curve, whose ends a fit may miss.
_FEWEST_ATOMS = 3
# Labels that errors on structures left out, of so many, say to be explained no better than by nothing.
_UNEXPLAINED, _FEWEST_LEFT_OUT = 0.8, 20


def contradictions(fitted: FittedGP, sketches: Mapping[int, Sketches]) -> list[LabelFinding]:
    """What is wrong with the labels of a fit; what explains most comes first, and alone.

    Parameters
    ----------
    fitted : FittedGP
    sketches : mapping of int to Sketches
        Of its training structures, by index.
    """
    labelled = list(fitted.training or ())
    energies, sharp = _energies(labelled, sketches), _sharp(fitted, labelled)
    found = between_kinds(labelled, energies, fitted.factors, fitted.whitening.block, fitted.amplitudes, sharp)
    return found or _of_structures(fitted, labelled, sketches, energies, sharp) or _unexplained(fitted, labelled)


def _of_structures(
    fitted: FittedGP,
    labelled: Sequence[LabelledStructure],
    sketches: Mapping[int, Sketches],
    energies: EnergyRows,
    sharp: Mapping[str, float],
) -> list[LabelFinding]:
    """Labels of single structures, by those of all others."""
    agreements = {}
    for kind in ("forces", "stress"):
        agreements[kind] = Agreement(kind, labelled, sketches, _weights(fitted.posterior))
        others = {group: factor for group, factor in fitted.factors.items() if kind_of(group) != kind}
        if agreements[kind].drawn_away and others:
            without = Posterior(others, fitted.whitening.block, sharp, fitted.amplitudes)
            agreements[kind] = Agreement(kind, labelled, sketches, _weights(without))
    own = [labelled[k] for k in energies.indices]
    levels = np.array([fitted.noise[fitted.noise_model.group(s, "energy")] for s in own])
    found = [finding for agreement in agreements.values() for finding in agreement.findings()]
    return found + odd_energies(own, energies, fitted.posterior, levels, agreements["forces"])


def _unexplained(fitted: FittedGP, labelled: Sequence[LabelledStructure]) -> list[LabelFinding]:
    """Forces and stress of which the fit explains hardly anything, by errors on structures left out."""
    left_out = fitted.summary["hyperparameters"].get("leave_one_out", {"structures": 0})
    if left_out["structures"] < _FEWEST_LEFT_OUT:
        return []
    found = []
    for kind in ("forces", "stress"):
        values = [np.ravel(s.label(kind))[s.known(kind)] for s in labelled if s.label(kind) is not None]
        typical = float(np.mean(np.abs(np.concatenate(values)))) if len(values) >= _FEWEST_LEFT_OUT else 0.0
        missed = left_out["mae"].get(kind, 0.0)
        if missed > _UNEXPLAINED * typical > 0:
            share = missed / typical
            found.append(
                LabelFinding(
                    "warned",
                    f"the labels of {kind} are hardly explained: errors on structures left out are {share:.2g} times "
                    f"the mean size of these labels (from {labelled[0].source} on). Are they in the order of the "
                    "atoms, with x, y, z as positions have them, and of these structures? Else the descriptor or the "
                    "number of structures does not suffice.",
                )
            )
    return found


def _sharp(fitted: FittedGP, labelled: Sequence[LabelledStructure]) -> dict[str, float]:
    """Noise so small that every kind of label counts."""
    start = starting_noise(labelled, fitted.noise_model, fitted.isolated)
    return {group: SHARP / START * level for group, level in start.items()}


def _weights(posterior: Posterior) -> Tensor:
    return posterior.whitened_weights * posterior.scale


def _energies(labelled: Sequence[LabelledStructure], sketches: Mapping[int, Sketches]) -> EnergyRows:
    """Of structures that are neither isolated atoms nor dimers."""
    found = [
        (k, s.energy)
        for k, s in sorted(sketches.items())
        if s.energy
        and (len(labelled[k].atoms) >= _FEWEST_ATOMS or labelled[k].atoms.pbc.any())
        and not is_isolated_atom(labelled[k])
    ]
    rows = torch.stack([e.row for _, e in found]) if found else torch.empty((0, 0), dtype=torch.float64)
    return EnergyRows.of(labelled, [k for k, _ in found], rows, np.array([e.target for _, e in found]))

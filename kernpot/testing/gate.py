"""Checks of what a gate relies on in a potential that drives dynamics."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties

from kernpot.dynamics.gate import GateStopped, UncertaintyGate
from kernpot.potential import Potential
from kernpot.prediction import MeanPrediction
from kernpot.testing.comparison import full, require, require_close, require_same_means

_MARGIN = 1e-3


def check_gate(potential: Potential, atoms: Atoms, rng: np.random.Generator) -> None:
    """A gate fires above its threshold only, names the atom, and leaves forces and ASE's results as they are."""
    atoms.rattle(0.02, rng=rng)
    stds = full(potential, atoms).forces.std
    largest, atom = float(stds.max()), int(stds.argmax()) // 3
    if not largest > 0:
        return
    atoms.calc = potential.calculator()
    atoms.get_forces()
    above = UncertaintyGate(potential, (1 + _MARGIN) * largest)
    below = UncertaintyGate(potential, (1 - _MARGIN) * largest, action="record")
    try:
        above.check(atoms)
    except GateStopped as stopped:
        raise AssertionError(
            f"the largest force std is {largest:.6g} eV/A, but a gate above it fired: {stopped}"
        ) from None
    event = below.check(atoms)
    if event is None:
        raise AssertionError(f"a gate below the largest force std, {largest:.6g} eV/A, must fire, but did not")
    require(event.atom == atom, f"the most uncertain force is that of atom {atom}, the gate's event names {event.atom}")
    require_close(event.value, largest, "the std in the gate's event against predict_full")
    _require_screen(potential, atoms)
    # The gate has put the screen, if any, into the calculator by now.
    atoms.rattle(0.01, rng=rng)
    found = MeanPrediction(
        atoms.get_potential_energy(),
        atoms.get_potential_energies(),
        atoms.get_forces(),
        atoms.get_stress() if atoms.pbc.all() else None,
    )
    require_same_means(found, potential.mean(atoms), "the calculator under a gate against the mean")
    foreign = (set(atoms.calc.results) | set(event.atoms.calc.results)) - set(all_properties)
    require(not foreign, f"results of calculators must be properties that ASE knows, got also {sorted(foreign)}")


def _require_screen(potential: Potential, atoms: Atoms) -> None:
    screen = potential.screen()
    if screen is None:
        return
    mean, rough = screen(atoms)
    require_same_means(mean, potential.mean(atoms), "the screen's mean against the mean")
    shape = (len(atoms),)
    require(np.shape(rough) == shape, f"a screen must give numbers of shape {shape}, got {np.shape(rough)}")
    require(bool((np.isfinite(rough) & (rough >= 0)).all()), "a screen's numbers must be finite and not negative")

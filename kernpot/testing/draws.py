"""Checks of draws: each a potential, together as wide as the error bars."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from kernpot.errors import KernpotError
from kernpot.potential import Draw, Potential
from kernpot.prediction import DrawPredictions, FloatArray, MeanPrediction
from kernpot.testing.comparison import full, require, require_close, require_same_means
from kernpot.testing.derivatives import require_forces, require_stress

_N, _FEW = 8, 2
# Draws may carry misfit, which epistemic std leave out, and their std is known to a quarter of itself.
_NARROWEST, _WIDEST = 0.2, 10.0
# Standard errors that the average of draws may be off their mean.
_OFF = 8.0
# As DERIVATIVE_TOLERANCE. Large weights of opposite signs, of which draws have more than the mean, cost digits.
_TOLERANCE = 1e-5


def check_draws(potential: Potential, atoms: Atoms, rng: np.random.Generator) -> None:
    """Draws follow from a seed, are conservative potentials of their own, and scatter as the error bars say."""
    atoms.rattle(0.02, rng=rng)
    draws = potential.sample_potentials(_N, random_state=0)
    require(len(draws) == _N, f"sample_potentials({_N}) must give {_N} draws, got {len(draws)}")
    answers = draws.evaluate(atoms)
    _require_shapes(answers, atoms)
    few, again = (potential.sample_potentials(_FEW, random_state=0).evaluate(atoms) for _ in range(2))
    same = np.array_equal(again.energies, few.energies) and np.array_equal(again.forces, few.forces)
    require(same, "draws differ between two calls with the same seed")
    require_close(few.energies, answers.energies[:_FEW], "energies of few draws against the first of many")
    some = draws[1:3]
    require(len(some) == 2, f"draws[1:3] must give 2 draws, got {len(some)}")
    require_same_means(some[0].mean(atoms), answers[1], "draws[1:3][0] against draws[1]")
    require_same_means(draws.mean_potential.mean(atoms), potential.mean(atoms), "mean_potential against the mean")
    _require_spread(answers, potential, atoms)
    for k in (0, _N - 1):
        what = f"draw {k}"
        require_same_means(draws[k].mean(atoms), answers[k], f"{what} alone against evaluate")
        require_forces(draws[k], atoms, rng, 1, f"forces of {what}", _TOLERANCE)
        require_stress(draws[k], atoms, (k % 6,), f"{what}, stress component", _TOLERANCE)
    _require_calculator(draws[0], answers[0], atoms)
    foreign = atoms.copy()
    foreign.numbers[0] = next(z for z in range(1, 100) if z not in potential.elements_)
    for refused, ask in {
        "draws of a structure with an unknown element": lambda: draws.evaluate(foreign),
        "a draw of a structure with an unknown element": lambda: draws[0].mean(foreign),
        "predict_full of a draw, which has no error bars,": lambda: draws[0].predict_full([atoms]),
        "sample_potentials(0)": lambda: potential.sample_potentials(0),
    }.items():
        try:
            ask()
        except KernpotError:
            continue
        raise AssertionError(f"{refused} must raise KernpotError, but was answered")


def _require_shapes(answers: DrawPredictions, atoms: Atoms) -> None:
    n = len(atoms)
    shapes = {"energies": (_N,), "atomic_energies": (_N, n), "forces": (_N, n, 3)}
    if atoms.pbc.all():
        shapes["stress"] = (_N, 6)
    else:
        require(answers.stress is None, "draws must give a stress for three periodic directions only")
    for name, shape in shapes.items():
        found = getattr(answers, name)
        require(np.shape(found) == shape, f"{name} of draws must have shape {shape}, got {np.shape(found)}")
    require_close(answers.atomic_energies.sum(1), answers.energies, "sums of the atomic energies of draws")


def _require_spread(answers: DrawPredictions, potential: Potential, atoms: Atoms) -> None:
    """Energies and forces scatter about the mean, and as widely as the error bars to within a factor."""
    expected = full(potential, atoms)
    energy = float(answers.energies.std(ddof=1))
    off = abs(float(answers.energies.mean() - expected.energy.mean))
    require(
        off <= _OFF * energy / np.sqrt(_N) + 1e-9,
        f"the average energy of {_N} draws is {off:.3g} eV off the mean; with a std of {energy:.3g} eV it may be "
        f"{_OFF * energy / np.sqrt(_N):.1e}",
    )
    forces = float(np.sqrt(answers.forces.var(axis=0, ddof=1).mean()))
    # Over energies draws may be wider than labels, which energy_std then says.
    widest = {"energy": potential.energy_std(atoms).std, "forces": 0.0}
    for name, found, quantity in (("energy", energy, expected.energy), ("forces", forces, expected.forces)):
        low = _NARROWEST * _rms(quantity.epistemic_std)
        high = _WIDEST * max(_rms(quantity.std), widest[name])
        require(
            low - 1e-9 <= found <= high + 1e-9,
            f"the std of {name} over draws is {found:.3g} {quantity.unit}; expected {low:.3g} to {high:.3g}, from "
            f"{_NARROWEST:g} times the epistemic std to {_WIDEST:g} times the std",
        )


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _require_calculator(draw: Draw, expected: MeanPrediction, atoms: Atoms) -> None:
    """The calculator of a draw gives that draw's answers."""
    atoms = atoms.copy()
    atoms.calc = draw.calculator()
    stress = atoms.get_stress() if expected.stress is not None else None
    found = MeanPrediction(atoms.get_potential_energy(), atoms.get_potential_energies(), atoms.get_forces(), stress)
    require_same_means(found, expected, "the ASE calculator of a draw")

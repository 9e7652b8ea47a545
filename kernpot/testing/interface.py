"""Checks of the contract: shapes, agreement of the methods with each other, files, refusals."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from kernpot.errors import StructureError
from kernpot.files.container import load
from kernpot.potential import Potential, Share
from kernpot.prediction import UNITS, MeanPrediction, Prediction, Quantity
from kernpot.testing.comparison import (
    VARIANCE_TOLERANCE,
    full,
    quantities,
    require,
    require_close,
    require_same,
    require_same_means,
)


def check_answers(potential: Potential, atoms: Atoms, _: np.random.Generator) -> None:
    """Shapes, units, 0 <= epistemic std <= std, finite numbers, and the same bits when asked again."""
    prediction = full(potential, atoms)
    n = len(atoms)
    require(potential.cutoff > 0, f"the cutoff must be a positive distance, got {potential.cutoff}")
    shapes = {"energy": (), "energies": (n,), "forces": (n, 3), "stress": (6,)}
    units = UNITS | {"energies": UNITS["energy"]}
    for name, q in quantities(prediction):
        require(q.shape == shapes[name], f"{name} must have shape {shapes[name]}, got {q.shape}")
        require(q.unit == units[name], f"{name} must be in {units[name]}, got {q.unit}")
        for part in ("mean", "epistemic_std", "std"):
            require(bool(np.isfinite(getattr(q, part)).all()), f"{part} of {name} must be finite")
        require(bool((q.epistemic_std >= 0).all()), f"epistemic_std of {name} must not be negative")
        require(bool((q.std >= q.epistemic_std).all()), f"std of {name} must not be below its epistemic_std")
    periodic = bool(atoms.pbc.all())
    require((prediction.stress is not None) == periodic, "stress must be given exactly for three periodic directions")
    require_close(prediction.energies.mean.sum(), prediction.energy.mean, "sum of the atomic energies")
    largest = float(np.abs(prediction.forces.mean).max())
    require_close(prediction.forces.mean.sum(0), np.zeros(3), "sum of the forces", scale=largest)
    again = dict(quantities(full(potential, atoms)))
    for name, a in quantities(prediction):
        b = again[name]
        same = np.array_equal(a.mean, b.mean) and np.array_equal(a.std, b.std)
        require(same, f"{name} differs between two calls for one structure")


def check_covariance(potential: Potential, atoms: Atoms, _: np.random.Generator) -> None:
    """The joint covariance has the variances on its diagonal and no negative eigenvalue."""
    prediction = full(potential, atoms, covariance=True)
    if prediction.covariance is None:
        raise AssertionError("predict_full(..., covariance=True) must give the covariance, got None")
    for matrix, part in ((prediction.covariance.epistemic, "epistemic_std"), (prediction.covariance.total, "std")):
        joint = [getattr(q, part).ravel() for name, q in quantities(prediction) if name != "energies"]
        variance = np.concatenate(joint) ** 2
        for name, q in quantities(prediction):
            if name != "energies":
                here = prediction.covariance.slice_of(name)
                scale = float((q.std**2).max())
                require_close(matrix.diagonal()[here], variance[here], f"variances of {name}", 1e-6, scale, floor=0.0)
        require_close(matrix, matrix.T, "the covariance against its transpose")
        unit = 1.0 / np.sqrt(prediction.covariance.total.diagonal())
        lowest = float(np.linalg.eigvalsh(matrix * np.outer(unit, unit))[0])
        require(lowest > -1e-6, f"the covariance must have no negative eigenvalue, got {lowest:.2e} of the variance")


def check_methods_agree(potential: Potential, atoms: Atoms, _: np.random.Generator) -> None:
    """``mean``, ``predict`` and the ASE calculator give what ``predict_full`` gives."""
    expected = full(potential, atoms)
    energies, std = potential.predict([atoms], return_std=True)
    require_close([energies[0], std[0]], [expected.energy.mean, expected.energy.std], "predict(return_std=True)")
    require_close(np.asarray(potential.predict([atoms])), [expected.energy.mean], "predict")
    require_same_means(potential.mean(atoms), expected.mean, "mean against predict_full")
    _check_force_std(potential, atoms, expected.forces)
    atoms.calc = potential.calculator()
    found = MeanPrediction(
        atoms.get_potential_energy(),
        atoms.get_potential_energies(),
        atoms.get_forces(),
        atoms.get_stress() if atoms.pbc.all() else None,
    )
    require_same_means(found, expected.mean, "the ASE calculator against predict_full")
    require_same(atoms.calc.prediction, expected, "calculator.prediction against predict_full")


def _check_force_std(potential: Potential, atoms: Atoms, expected: Quantity) -> None:
    """Alone, and by three processes that share the work: this one plays them in turn."""
    parts: list[np.ndarray] = []

    def collected(part: np.ndarray) -> np.ndarray:
        parts.append(part)
        return np.asarray(sum(parts))

    shares = [Share(rank, 3, collected) for rank in range(3)]
    *_, together = [potential.force_std(atoms, share) for share in shares]
    scale = float(expected.std.max() ** 2)
    for found, what in ((potential.force_std(atoms), "force_std"), (together, "force_std shared by three processes")):
        require_close(found**2, expected.std**2, f"{what} squared", VARIANCE_TOLERANCE, scale, 1e-13)


def check_input_is_kept(potential: Potential, atoms: Atoms, rng: np.random.Generator) -> None:
    """Structures come back unchanged, also with atoms outside the cell."""
    atoms.positions += rng.integers(-1, 2, (len(atoms), 3)) * atoms.pbc @ atoms.cell.array
    atoms.info["note"] = "mine"
    before = atoms.copy()
    potential.mean(atoms)
    potential.predict([atoms], return_std=True)
    full(potential, atoms, covariance=True)
    same = atoms == before and atoms.info == before.info and set(atoms.arrays) == set(before.arrays)
    require(same and atoms.calc is None, "positions, cell, arrays, info or calculator of the input were changed")


def check_refusals(potential: Potential, atoms: Atoms, _: np.random.Generator) -> None:
    """Structures that have no answer are refused with StructureError, naming them."""
    unknown = next(z for z in range(1, 100) if z not in potential.elements_)
    lost, foreign, stacked = atoms.copy(), atoms.copy(), atoms + atoms
    lost.positions[0, 0] = np.nan
    foreign.numbers[0] = unknown
    bad = {
        "a NaN position": lost,
        f"the unknown element {chemical_symbols[unknown]}": foreign,
        "atoms on top of each other": stacked,
        "no atoms": Atoms(),
    }
    for what, structure in bad.items():
        for ask in (potential.predict, potential.predict_full):
            try:
                ask([atoms, structure])
            except StructureError as error:
                require("structures[1]" in str(error), f"the error for {what} must name structures[1], got: {error}")
            else:
                raise AssertionError(f"a structure with {what} must raise StructureError, but was answered")


def check_lists(potential: Potential, structures: Sequence[Atoms]) -> None:
    """Structures are answered one by one and in order; no structures, no answers."""
    together: list[Prediction] = potential.predict_full(structures)
    require(len(together) == len(structures), f"{len(structures)} structures got {len(together)} predictions")
    for k, (prediction, atoms) in enumerate(zip(together, structures, strict=True)):
        require_same(prediction, full(potential, atoms), f"structures[{k}] in a list against alone")
    energies = np.asarray(potential.predict(structures))
    require_close(energies, [p.energy.mean for p in together], "predict of a list against predict_full")
    require(np.shape(potential.predict([])) == (0,), "predict([]) must give an empty array")
    require(potential.predict_full([]) == [], "predict_full([]) must give an empty list")


def check_clone(potential: Potential, structures: Sequence[Atoms]) -> None:
    """``sklearn.base.clone`` gives an unfitted potential, which refuses to predict."""
    copy: Any = clone(potential)
    try:
        copy.predict(structures)
    except NotFittedError:
        return
    raise AssertionError("an unfitted potential must raise scikit-learn's NotFittedError when asked to predict")


def check_save_and_load(potential: Potential, structures: Sequence[Atoms]) -> None:
    """A model file brings back the same distributions; its kind must be in :data:`kernpot.files.container.KINDS`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.kernpot"
        potential.save(path)
        loaded: Potential = load(path)
    require(
        tuple(loaded.elements_) == tuple(potential.elements_),
        f"the loaded potential knows {loaded.elements_}, the saved one {potential.elements_}",
    )
    for k, atoms in enumerate(structures):
        require_same(full(loaded, atoms), full(potential, atoms), f"structures[{k}] after saving and loading")

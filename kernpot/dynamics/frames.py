"""Structures that carry what a potential said of them, error bars included."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot.prediction import Prediction
from kernpot.structures.predictions import PREDICTED_ENERGY, PREDICTED_FORCES

# Names under which predictions travel with structures.
_PREDICTED_ARRAYS = ("forces_std", "energies_std", "forces_predicted", "kernpot_std", "kernpot_force_std")
_PREDICTED_INFO = ("energy_std", "stress_std", "energy_predicted")


def annotated(atoms: Atoms, prediction: Prediction) -> Atoms:
    """A copy of a structure with a prediction, to write to a trajectory.

    Means are results of a calculator, under the names ASE knows. Standard deviations are not: keys that ASE does not
    know break ``calc.get_properties`` and programs that rely on it. They are columns and header entries of extended XYZ
    instead, which carries all of them.

    Parameters
    ----------
    atoms : Atoms
        Momenta, constraints and what else it carries are copied.
    prediction : Prediction
        Of this structure.

    Returns
    -------
    Atoms
        ``calc``: ``energy`` (eV), ``forces`` (eV/A), ``stress`` (eV/A^3; periodic in three directions only).
        ``arrays``: ``forces_std`` (n_atoms, 3), eV/A, and ``energies_std`` (n_atoms,), eV.
        ``info``: ``energy_std``, eV, of the total energy, and ``stress_std`` (6,), eV/A^3; ``energy_predicted``, eV, by
        which a fit tells predictions from labels (:mod:`kernpot.structures.predictions`).

    Raises
    ------
    ValueError
        If the prediction is of another number of atoms.
    """
    if prediction.forces.shape != (len(atoms), 3):
        raise ValueError(f"expected a prediction for {len(atoms)} atoms, got one for {len(prediction.forces.mean)}")
    frame = atoms.copy()
    results = {"energy": float(prediction.energy.mean), "forces": np.array(prediction.forces.mean)}
    frame.arrays["forces_std"] = np.array(prediction.forces.std)
    frame.arrays["energies_std"] = np.array(prediction.energies.std)
    frame.info["energy_std"] = float(prediction.energy.std)
    frame.info[PREDICTED_ENERGY] = results["energy"]
    frame.arrays.pop(PREDICTED_FORCES, None)  # of labels it had
    frame.info.pop("stress_std", None)  # of an earlier prediction
    if prediction.stress is not None:
        results["stress"] = np.array(prediction.stress.mean)
        frame.info["stress_std"] = np.array(prediction.stress.std)
    frame.calc = SinglePointCalculator(frame, **results)
    return frame


def beside_labels(frame: Atoms, prediction: Prediction | None) -> Atoms:
    """A structure that keeps its labels, with a prediction beside them.

    Parameters
    ----------
    frame : Atoms
        Its calculator has the labels, if there are any.
    prediction : Prediction or None
        Of this structure; None gives the frame as it is.

    Returns
    -------
    Atoms
        Stds as of :func:`annotated`; means in ``arrays["forces_predicted"]`` (n_atoms, 3), eV/A, and
        ``info["energy_predicted"]``, eV.
    """
    if prediction is None:
        return frame
    both = annotated(frame, prediction)
    both.arrays[PREDICTED_FORCES] = both.get_forces(apply_constraint=False)
    both.calc = frame.calc
    return both


def without_prediction(atoms: Atoms) -> Atoms:
    """A copy without calculator and without what :func:`annotated`, :func:`beside_labels` and LAMMPS put beside it."""
    frame = atoms.copy()
    for name in _PREDICTED_ARRAYS:
        frame.arrays.pop(name, None)
    for name in _PREDICTED_INFO:
        frame.info.pop(name, None)
    return frame

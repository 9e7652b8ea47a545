"""What a simulation tells of a step, for live views and reports."""

from __future__ import annotations

from ase import Atoms, units

from kernpot.dynamics.run_directory import Record
from kernpot.prediction import Prediction


def step_record(
    atoms: Atoms,
    prediction: Prediction,
    *,
    walker: int,
    step: int,
    n_steps: int,
    time_fs: float,
    target_temperature: float | None,
    threshold: float | None,
) -> Record:
    """Temperature (K), pressure (GPa, its kinetic part included), volume (A^3), energy (eV) and the largest force std.

    Parameters
    ----------
    atoms : Atoms
        With momenta.
    prediction : Prediction
        For them.
    walker, step, n_steps : int
    time_fs : float
    target_temperature : float or None
        K.
    threshold : float or None
        Of the gate on the force std, eV/A.

    Returns
    -------
    dict
        As JSON.
    """
    pressure = volume = None
    if prediction.stress is not None:
        volume = float(atoms.get_volume())
        kinetic = 2 * atoms.get_kinetic_energy() / (3 * volume)
        pressure = float(kinetic - prediction.stress.mean[:3].mean()) / units.GPa
    return {
        "event": "step",
        "walker": walker,
        "step": step,
        "n_steps": n_steps,
        "time_fs": time_fs,
        "temperature": float(atoms.get_temperature()),
        "target_temperature": target_temperature,
        "pressure": pressure,
        "volume": volume,
        "energy": float(prediction.energy.mean),
        "max_force_std": float(prediction.forces.std.max()),
        "threshold": threshold,
    }

"""What a full check of a gate finds, and the structure it was made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kernpot.dynamics.frames import annotated
from kernpot.potential import Potential
from kernpot.prediction import Prediction

# Largest difference of two computations of the same stds, relative to the largest of them: some vanish by symmetry.
_SAME = 1e-6


@dataclass(frozen=True)
class GateCheck:
    """What one full check found.

    Attributes
    ----------
    step : int
    atom : int
        With the largest std of a force component.
    element : str
        Its symbol.
    force_std : float
        That std, eV/Angstrom.
    energy_std : float or None
        Of the total energy divided by the number of atoms, eV/atom; None when the gate has no threshold on energy or
        stress: it then measures neither.
    stress_std : float or None
        Largest of a component, eV/Angstrom^3; None likewise, and unless periodic in three directions.
    novelty : float or None
        Largest leverage of an atom; None when the gate has no threshold on it.
    """

    step: int
    atom: int
    element: str
    force_std: float
    energy_std: float | None = None
    stress_std: float | None = None
    novelty: float | None = None


class Checked:
    """A structure that was checked in full.

    Parameters
    ----------
    atoms : Atoms
        Copied: they move on.
    step : int
    force_std : ndarray of shape (n_atoms, 3)
        eV/A.
    prediction : Prediction or None
        When there was need of more than force stds.
    """

    def __init__(
        self, atoms: Atoms, step: int, force_std: NDArray[np.float64], prediction: Prediction | None = None
    ) -> None:
        self.atoms, self.step, self.force_std = atoms.copy(), step, force_std
        self._frame = None if prediction is None else self._annotated(prediction)

    def frame(self, potential: Potential) -> Atoms:
        """The structure with what its potential says of it (:func:`kernpot.dynamics.frames.annotated`), and its step.

        What was not predicted at the check is predicted now, once. Where the potential has learnt since, it cannot be
        known any more; the frame then has the force stds of the check and nothing else.
        """
        if self._frame is None:
            prediction = potential.predict_full([self.atoms])[0]
            if np.allclose(prediction.forces.std, self.force_std, rtol=0.0, atol=_SAME * self.force_std.max()):
                self._frame = self._annotated(prediction)
            else:
                self._frame = self.atoms.copy()
                self._frame.arrays["forces_std"] = np.array(self.force_std)
                self._frame.info["step"] = self.step
        return self._frame

    def _annotated(self, prediction: Prediction) -> Atoms:
        frame = annotated(self.atoms, prediction)
        frame.info["step"] = self.step
        return frame

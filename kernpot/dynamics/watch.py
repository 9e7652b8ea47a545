"""The looks of a gate: which need a full check, what that finds, and when it has been too much for too long."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kernpot.calculator import KernpotCalculator
from kernpot.dynamics.checked import Checked, GateCheck
from kernpot.dynamics.reasons import Reason
from kernpot.dynamics.screening import Screening
from kernpot.errors import KernpotError
from kernpot.potential import Novel, Potential

# Looks from the first full check to the second, and by how much more each time until there are `recheck` of them: the
# first structure often is a special one, such as a perfect crystal.
_WAIT = 4


@dataclass(frozen=True, eq=False)
class Alarm:
    """A threshold that was exceeded as often in a row as patience lasts.

    Attributes
    ----------
    reason : {"force_std", "energy_std", "stress_std", "novelty"}
    value, threshold : float
    atom : int
    checked : Checked
        The structure.
    before : tuple of Checked
        Those checked in full before it, oldest first.
    trusted : Atoms or None
        The last of them below all thresholds.
    trusted_step : int or None
    """

    reason: Reason
    value: float
    threshold: float
    atom: int
    checked: Checked
    before: tuple[Checked, ...]
    trusted: Atoms | None
    trusted_step: int | None

    @property
    def element(self) -> str:
        """Symbol of the atom."""
        return str(self.checked.atoms.symbols[self.atom])


class Watch:
    """Looks at structures, as :class:`kernpot.dynamics.gate.UncertaintyGate` describes; what follows is up to others.

    Parameters
    ----------
    potential : Potential
    thresholds : mapping of str to float
    patience, n_keep, recheck : int

    Attributes
    ----------
    last : GateCheck or None
        What the last full check found.
    excess : float
        The largest of it in units of its threshold.
    n_looks, n_checks : int
        Number of looks, and of full checks among them.

    Raises
    ------
    ValueError
        If there is a threshold on the novelty of a potential that has none.
    """

    def __init__(
        self, potential: Potential, thresholds: Mapping[Reason, float], patience: int, n_keep: int, recheck: int
    ) -> None:
        if "novelty" in thresholds and not isinstance(potential, Novel):
            raise ValueError("this potential has no novelty to put a threshold on: leave novelty=None")
        self._potential, self._thresholds = potential, dict(thresholds)
        self._patience, self._recheck = patience, recheck
        self.last: GateCheck | None = None
        self.excess = 0.0
        self.n_looks, self.n_checks = 0, 0
        self._before: deque[Checked] = deque(maxlen=n_keep)
        self._trusted: tuple[Atoms, int] | None = None
        self._n_above, self._n_skipped, self._wait = 0, 0, 1

    @property
    def doubtful(self) -> bool:
        """Whether the last look found something above a threshold, be it that patience is not at its end."""
        return self._n_above > 0

    def look(self, atoms: Atoms, step: int) -> Alarm | None:
        """Look at one structure.

        Raises
        ------
        KernpotError
            If there is a threshold on the stress of a structure that has none.
        """
        self.n_looks += 1
        screening = self._screening
        rough = None if screening is None else screening.rough(atoms)
        if screening is not None and rough is not None and self._passes(screening.bound(atoms, rough)):
            self._n_skipped += 1
            return None
        self.n_checks += 1
        self._n_skipped, self._wait = 0, min(self._recheck, _WAIT * self._wait)
        checked, found = self._check(atoms, step)
        if screening is not None and rough is not None:
            screening.learn(atoms, rough, checked.force_std.max(axis=1))
        excess = {r: value / self._thresholds[r] for r, (value, _) in found.items()}
        reason = max(excess, key=lambda r: excess[r])
        self.excess = excess[reason]
        self._n_above = self._n_above + 1 if self.excess > 1 else 0
        if self._n_above == self._patience:
            trusted, trusted_step = (None, None) if self._trusted is None else self._trusted
            value, atom = found[reason]
            threshold, before = self._thresholds[reason], tuple(self._before)
            return Alarm(reason, value, threshold, atom, checked, before, trusted, trusted_step)
        if self._n_above == 0:
            self._trusted = atoms.copy(), step
        self._before.append(checked)
        return None

    def go_on(self, alarm: Alarm) -> None:
        """After an alarm, wait for the end of the stay above the threshold."""
        self._before.append(alarm.checked)

    def start_over(self) -> None:
        """After an alarm, look as if nothing had been above a threshold."""
        self._n_above = 0

    @cached_property
    def _screening(self) -> Screening | None:
        """Made at the first look: a gate may be set up before its potential is fitted."""
        screen = self._potential.screen() if self._recheck > 1 and set(self._thresholds) == {"force_std"} else None
        return None if screen is None else Screening(self._potential, screen)

    def _passes(self, bound: float) -> bool:
        """Whether a look needs no full check."""
        return not self._n_above and self._n_skipped + 1 < self._wait and bound < self._thresholds["force_std"]

    def _force_std(self, atoms: Atoms) -> NDArray[np.float64]:
        """With the neighbours of a calculator of the potential where it has just computed the forces."""
        calculator = atoms.calc
        if isinstance(calculator, KernpotCalculator) and calculator.potential is self._potential:
            return self._potential.force_std(atoms, pairs=calculator.neighbour_list.update(atoms))
        return self._potential.force_std(atoms)

    def _check(self, atoms: Atoms, step: int) -> tuple[Checked, dict[Reason, tuple[float, int]]]:
        """Check in full; the value and the atom that each threshold is compared with."""
        whole = not self._thresholds.keys().isdisjoint(("energy_std", "stress_std"))
        prediction = self._potential.predict_full([atoms])[0] if whole else None
        stds = self._force_std(atoms) if prediction is None else prediction.forces.std
        atom = int(np.unravel_index(np.argmax(stds), stds.shape)[0])
        found: dict[Reason, tuple[float, int]] = {"force_std": (float(stds.max()), atom)}
        if prediction is not None:
            found["energy_std"] = float(prediction.energy.std) / len(atoms), atom
            if prediction.stress is not None:
                found["stress_std"] = float(prediction.stress.std.max()), atom
            elif "stress_std" in self._thresholds:
                raise KernpotError(
                    f"the gate has a threshold on the stress, which needs a structure periodic in three directions, "
                    f"got pbc = {atoms.pbc.tolist()}; leave stress_std=None"
                )
        if "novelty" in self._thresholds:
            assert isinstance(self._potential, Novel)
            leverage: NDArray[np.float64] = self._potential.novelty([atoms])[0].leverage
            found["novelty"] = float(leverage.max()), int(leverage.argmax())
        self.last = GateCheck(step, atom, atoms.symbols[atom], **{name: value for name, (value, _) in found.items()})
        return Checked(atoms, step, stds, prediction), {name: found[name] for name in self._thresholds}

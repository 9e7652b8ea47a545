"""torch-sim: many structures relaxed or moved together, each step one evaluation of all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from kernpot.engines.core import PairFunction, evaluated_together
from kernpot.errors import KernpotError, StructureError
from kernpot.potential import Potential
from kernpot.structures.neighbours import NeighbourList

try:
    from torch_sim.models.interface import ModelInterface
    from torch_sim.state import SimState
except ImportError as error:
    raise KernpotError(f"this needs torch-sim ({error}): pip install 'kernpot[torch-sim]'") from None


class KernpotModel(ModelInterface):
    """A fitted potential as torch-sim's ``ModelInterface``.

    Energies (eV), forces (eV/Angstrom) and stresses (eV/Angstrom^3, positive under tension) are the means, in double
    precision on the CPU; autograd does not go through them. torch-sim's systems are periodic in all directions or in
    none; without periodicity there is no stress, and it is NaN.

    Parameters
    ----------
    potential : Potential
    skin : float, default=0.5
        Extra radius of the neighbour lists, Angstrom: that of a system is rebuilt when an atom has moved by half of it.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        When used before the potential is fitted.

    Examples
    --------
    >>> import torch_sim as ts
    >>> from kernpot.engines.torch_sim import KernpotModel
    >>> final = ts.optimize([atoms, atoms], KernpotModel(potential), optimizer=ts.frechet_cell_fire)
    >>> final.energy.shape
    torch.Size([2])
    """

    def __init__(self, potential: Potential, skin: float = 0.5) -> None:
        super().__init__()
        self.potential = potential
        self._skin = skin
        self._lists: list[NeighbourList] = []
        self._device, self._dtype = torch.device("cpu"), torch.float64
        self._compute_forces = self._compute_stress = True

    def forward(self, state: SimState | dict[str, Any], **_: Any) -> dict[str, torch.Tensor]:
        """Energy (n_systems,), forces (n_atoms, 3) and stress (n_systems, 3, 3) of all systems.

        Parameters
        ----------
        state : SimState or dict
            On the CPU in double precision.

        Raises
        ------
        KernpotError
            Another device or precision.
        StructureError
            Positions that are not finite, a cell without volume, or elements that the potential does not know.
        """
        systems = self._systems(state)
        while len(self._lists) < len(systems):
            self._lists.append(NeighbourList(self.potential.cutoff, self._skin))
        pairs = [near.update(atoms) for near, atoms in zip(self._lists, systems, strict=False)]
        found = evaluated_together(PairFunction(self.potential), systems, pairs)
        stress = np.full((len(systems), 3, 3), np.nan)
        for k, answer in enumerate(found):
            if answer.stress is not None:
                stress[k] = answer.stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)
        return {
            "energy": torch.tensor([answer.energy for answer in found], dtype=torch.float64),
            "forces": torch.from_numpy(np.concatenate([answer.forces for answer in found])),
            "stress": torch.from_numpy(stress),
        }

    def force_std(self, state: SimState) -> torch.Tensor:
        """Standard deviations (n_atoms, 3) of the forces, eV/Angstrom; costs tens of evaluations of the mean.

        A property calculator for torch-sim's ``TrajectoryReporter``.
        """
        return torch.from_numpy(np.concatenate([self.potential.force_std(atoms) for atoms in self._systems(state)]))

    def _systems(self, state: SimState | dict[str, Any]) -> list[Atoms]:
        """One structure for every system."""
        given: dict[str, Any] = dict(state if isinstance(state, dict) else vars(state))
        positions = given["positions"]
        if positions.device.type != "cpu" or positions.dtype != torch.float64:
            raise KernpotError(
                f"kernpot works in double precision on the CPU, got {positions.dtype} on {positions.device}: make the "
                "state with dtype=torch.float64 and device='cpu'."
            )
        x, numbers = positions.detach().numpy(), given["atomic_numbers"].numpy()
        index = given.get("system_idx")
        of = np.zeros(len(x), dtype=np.int64) if index is None else index.numpy()
        # torch-sim keeps cell vectors in columns, ASE in rows.
        cells = given["cell"].detach().numpy().reshape(-1, 3, 3).transpose(0, 2, 1)
        periodic: NDArray[np.bool_] = np.broadcast_to(np.asarray(given.get("pbc", True), dtype=bool), 3)
        unknown = set(np.unique(numbers).tolist()) - set(self.potential.elements_)
        if unknown:
            at = int(of[np.flatnonzero(np.isin(numbers, list(unknown)))[0]])
            raise StructureError(
                f"system {at}: atomic numbers {sorted(unknown)} were not in the fit "
                f"({list(self.potential.elements_)}); fit again with structures that hold them."
            )
        edges = np.searchsorted(of, np.arange(len(cells) + 1))
        return [
            Atoms(numbers[a:b], x[a:b], cell=cell, pbc=periodic)
            for a, b, cell in zip(edges[:-1], edges[1:], cells, strict=True)
        ]

"""A potential as metatomic's `ModelInterface`: energies of systems or atoms, under the mean and under draws."""

# No `from __future__ import annotations`: TorchScript reads annotations as objects, and metatomic compares them.

from collections.abc import Sequence
from typing import Dict, List, Optional  # noqa: UP035  what metatomic compares them with

import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import ModelOutput, NeighborListOptions, System
from torch import Tensor

from kernpot.engines.metatomic.energies import AtomicEnergies
from kernpot.engines.metatomic.soap import Soap
from kernpot.surfaces.potentials import Potentials, Term

# eV^2: the std of an energy is never less than 1 meV, as that of `Potential.energy_std`.
_LEAST = 1e-6


class Exported(torch.nn.Module):
    """What an exported file holds.

    Parameters
    ----------
    soaps : sequence of Soap
        Descriptors of the potentials.
    mean : Potentials
        A single one.
    draws : sequence of Term
        Those of draws, or of what they deviate from the mean; none gives no draws.
    spread : torch.nn.Module
        Variances of energies over draws.
    deviations : float or None
        Where the draws' terms are deviations: the factor on them, which are then added to the mean.
    """

    offsets: Tensor

    def __init__(
        self,
        soaps: Sequence[Soap],
        mean: Potentials,
        draws: Sequence[Term],
        spread: torch.nn.Module,
        deviations: float | None,
    ) -> None:
        super().__init__()
        self.unit, self.least = mean.unit, _LEAST
        self.soaps = torch.nn.ModuleList(soaps)
        self.mean = AtomicEnergies(mean.terms)
        self.draws = AtomicEnergies(draws)
        self.about_mean, self.factor = deviations is not None, 1.0 if deviations is None else deviations
        self.spread = spread
        offsets = torch.zeros(120, dtype=torch.float64)
        for z, energy in mean.isolated.items():
            offsets[z] = energy
        self.register_buffer("offsets", offsets)
        cutoff = max(soap.cutoff for soap in soaps)
        self.options = NeighborListOptions(cutoff=cutoff, full_list=True, strict=True)

    def requested_neighbor_lists(self) -> List[NeighborListOptions]:  # noqa: UP006
        """All pairs within the largest cutoff, both ways."""
        return [self.options]

    def forward(
        self,
        systems: List[System],  # noqa: UP006
        outputs: Dict[str, ModelOutput],  # noqa: UP006
        selected_atoms: Optional[Labels],  # noqa: UP045
    ) -> Dict[str, TensorMap]:  # noqa: UP006
        """The outputs asked for, of all systems together; of the selected atoms alone where some are selected."""
        found: Dict[str, TensorMap] = {}  # noqa: UP006
        if len(systems) == 0 or len(outputs) == 0:
            return found
        device = systems[0].positions.device
        sizes = torch.tensor([len(system) for system in systems], device=device)
        starts = torch.nn.functional.pad(torch.cumsum(sizes, 0), (1, 0))
        numbers = torch.cat([system.types for system in systems]).to(torch.int64)
        # Place of an atom among those whose energies are asked for, or -1.
        n_all = len(numbers)
        place = torch.arange(n_all, device=device)
        chosen = place
        if selected_atoms is not None:
            labels = selected_atoms.values.to(device=device, dtype=torch.int64)
            chosen = torch.sort(starts[labels[:, 0]] + labels[:, 1])[0]
            place = torch.full((n_all,), -1, dtype=torch.int64, device=device)
            place[chosen] = torch.arange(len(chosen), device=device)

        vectors: List[Tensor] = []  # noqa: UP006
        centres: List[Tensor] = []  # noqa: UP006
        neighbours: List[Tensor] = []  # noqa: UP006
        for k, system in enumerate(systems):
            near = system.get_neighbor_list(self.options)
            samples = near.samples.values.to(torch.int64)
            first = place[samples[:, 0] + starts[k]]
            here = first >= 0
            centres.append(first[here])
            neighbours.append(numbers[samples[:, 1] + starts[k]][here])
            vectors.append(near.values.reshape(-1, 3)[here])
        own = numbers[chosen]
        features: List[Tensor] = []  # noqa: UP006
        for soap in self.soaps:
            p: Tensor = soap(torch.cat(vectors), torch.cat(centres), torch.cat(neighbours), own)
            if self.unit:
                square = (p * p).sum(1, keepdim=True)
                some = square > 0
                p = torch.where(some, p / torch.sqrt(torch.where(some, square, 1.0)), 0.0)
            features.append(p)

        system_of = torch.bucketize(chosen, starts[1:], right=True)
        atoms = torch.stack([system_of, chosen - starts[system_of]], 1)
        # Systems without a selected atom have no energies.
        present, owner = torch.unique_consecutive(system_of, return_inverse=True)
        if selected_atoms is None:
            present, owner = torch.arange(len(systems), device=device), system_of
        for name, output in outputs.items():
            each = output.sample_kind == "atom"
            if name == "energy_uncertainty":
                of, n_of = owner, len(present)
                if each:
                    of, n_of = torch.arange(len(own), device=device), len(own)
                variance: Tensor = self.spread(features, own, of, n_of)
                found[name] = self.map(torch.sqrt(variance + self.least)[:, None], atoms, present, each)
            else:
                energies: Tensor = self.mean(features, own)
                if name != "energy":
                    drawn: Tensor = self.draws(features, own)
                    energies = energies + self.factor * drawn if self.about_mean else drawn
                energies = energies + self.offsets[own][:, None]
                if not each:
                    none = torch.zeros((len(present), energies.shape[1]), dtype=energies.dtype, device=device)
                    energies = none.index_add(0, owner, energies)
                found[name] = self.map(energies, atoms, present, each)
        return found

    def map(self, values: Tensor, atoms: Tensor, systems: Tensor, each: bool) -> TensorMap:
        """Values (n, K) with the names that metatomic knows them by."""
        if each:
            samples = Labels(["system", "atom"], atoms.to(torch.int32))
        else:
            samples = Labels(["system"], systems.to(torch.int32)[:, None])
        properties = Labels(["energy"], torch.arange(values.shape[1], device=values.device)[:, None].to(torch.int32))
        key = Labels(["_"], torch.zeros((1, 1), dtype=torch.int32, device=values.device))
        components: List[Labels] = []  # noqa: UP006
        return TensorMap(key, [TensorBlock(values, samples, components, properties)])

"""DScribe's SOAP, evaluated differentiably: the same numbers, exact derivatives, any periodicity."""

from __future__ import annotations

from typing import Any

import torch
from dscribe.descriptors import SOAP
from torch import Tensor

from kernpot.compilation import COMPILED
from kernpot.descriptors.adjustable import Adjustable
from kernpot.descriptors.blocks import Block, BlockEnvironments, BlockPairs, PairGradient, balanced_bounds
from kernpot.descriptors.compiled.environments import Compiled, CompiledEnvironments
from kernpot.descriptors.compiled.table import RadialTable
from kernpot.descriptors.dscribe_settings import soap_settings
from kernpot.descriptors.expansion import CentrePairs, Environments
from kernpot.descriptors.features import PairwiseFeatures
from kernpot.descriptors.layout import PowerSpectrum
from kernpot.descriptors.limits import require_soap
from kernpot.descriptors.radial import GTORadial, effective_cutoff, smoothness
from kernpot.descriptors.serial import soap_arguments, soap_from_dict, soap_to_dict
from kernpot.errors import DescriptorError, NotSmoothError
from kernpot.structures.neighbours import Pairs

__all__ = ["Block", "PairGradient", "SOAPFeatures"]

# Pairs expanded at a time: keeps the working set of a block near the size of a core's cache.
_BLOCK_PAIRS = 4096


class SOAPFeatures(Adjustable, PairwiseFeatures):
    """Differentiable twin of a :class:`dscribe.descriptors.SOAP`.

    The features equal ``soap.create(atoms)`` (order, compression, weighting and all); derivatives with respect to
    positions and strain come as vector-Jacobian and Jacobian-vector products in time and memory linear in the number of
    atoms. Periodicity is the structure's own ``pbc``, in 0 to 3 directions (DScribe's ``periodic`` flag must not
    contradict it). The output is dense and in double precision whatever the descriptor's ``sparse`` and ``dtype``.

    Parameters
    ----------
    soap : dscribe.descriptors.SOAP
        With ``rbf="gto"`` and ``average="off"``.

    Attributes
    ----------
    n_features : int
    species : tuple of int
        Atomic numbers the descriptor knows, ascending.
    cutoff : float
        Distance in Angstrom beyond which a neighbour contributes nothing.
    smoothness : int
        Continuous derivatives at the cutoff; -1 is a jump.
    radial : GTORadial
    spectrum : PowerSpectrum
    slot, weight : Tensor of shape (120,)
        Species slot (-1 where there is none) and weight of every atomic number.

    Raises
    ------
    DescriptorError
        For the polynomial basis, averaged output, a weighting that is infinite on the central atom, and settings that
        are out of range (:mod:`kernpot.descriptors.limits`).
    """

    kind = "soap"
    name = "SOAP"

    def __init__(self, soap: SOAP) -> None:
        if not isinstance(soap, SOAP):
            raise DescriptorError(f"expected a dscribe.descriptors.SOAP, got {type(soap).__name__}.")
        settings = soap_settings(soap)
        if settings.rbf != "gto":
            raise DescriptorError(
                f"expected rbf='gto', got rbf={settings.rbf!r}: DScribe integrates the polynomial basis by a 100-point "
                "quadrature with an upward Bessel recurrence that loses digits near the centre, so it has no exact "
                "derivative. Use rbf='gto'."
            )
        if soap.average != "off":
            raise DescriptorError(
                f"expected average='off' (one row per atom), got average={soap.average!r}: atomic energies need every "
                "atom's features."
            )
        mode = soap.compression.get("mode", "off")
        require_soap(settings.numbers, settings.r_cut, settings.n_max, settings.l_max, settings.sigma, mode)
        self.soap = soap
        self.periodic = bool(soap.periodic)
        self.species = settings.numbers
        self.cutoff = effective_cutoff(soap)
        self.smoothness = smoothness(soap)
        self.radial = GTORadial(soap)
        self.spectrum = PowerSpectrum(soap)
        table = RadialTable.of(self.radial, self.cutoff) if COMPILED else None
        # Plain torch serves weightings that no table holds, and atoms exactly on a centre.
        self._compiled = None if table is None else Compiled(table, self.spectrum)
        self.n_features = self.spectrum.n_features
        slot = torch.full((120,), -1, dtype=torch.int64)
        weight = torch.zeros(120, dtype=torch.float64)
        for k, z in enumerate(self.species):
            slot[z] = 0 if self.spectrum.mode == "mu2" else k
            weight[z] = float(settings.species_weights[k])
        self.slot, self.weight = slot, weight

    @property
    def descriptor(self) -> SOAP:
        """What this is the twin of."""
        return self.soap

    def _settings(self) -> dict[str, Any]:
        return soap_arguments(self.soap)

    def _made(self, settings: dict[str, Any]) -> SOAPFeatures:
        return SOAPFeatures(SOAP(**settings))

    def to_dict(self) -> dict[str, Any]:
        """Constructor arguments as plain data, and the radial basis they led to, for the model file."""
        return soap_to_dict(self.soap)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SOAPFeatures:
        """The twin of the SOAP that :meth:`to_dict` described."""
        return cls(soap_from_dict(data))

    def require_smooth(self) -> None:
        """Refuse a descriptor whose forces would not be the derivative of its energy.

        Raises
        ------
        NotSmoothError
            With the two lines to write instead.
        """
        if self.smoothness < 1:
            r = round(self.cutoff, 2)
            same = {
                k: v for k, v in soap_arguments(self.soap).items() if k not in ("r_cut", "weighting", "average", "rbf")
            }
            if not soap_settings(self.soap).species_weights.all():
                same["compression"]["species_weighting"] = None
            arguments = ", ".join(f"{k}={v!r}" for k, v in same.items())
            raise NotSmoothError(
                f"this SOAP, scaled to unit length, is not smooth where a neighbour crosses its cutoff "
                f"({self.cutoff:.2f} A): forces and stress would not be the derivatives of the energy. Write instead:\n"
                f"    weighting = {{'function': 'poly', 'r0': {r}, 'c': 1.0, 'm': 2}}\n"
                f"    soap = SOAP({arguments}, r_cut={r}, weighting=weighting)"
            )

    def environments(self, numbers: Tensor, pairs: Pairs, first: int = 0, last: int | None = None) -> Block:
        """Environments of centres ``first`` to ``last`` of a structure.

        Parameters
        ----------
        numbers : Tensor of shape (n_atoms,), int64
            Atomic numbers.
        pairs : Pairs
            At least all pairs within the cutoff, sorted by centre.
        """
        found = BlockPairs.of(pairs, numbers, first, last, self.cutoff, self.slot, self.spectrum.n_slots)
        own, weights = numbers[found.first : found.last], self.weight[numbers[found.neighbours]]
        block = CentrePairs(
            found.centres - first, found.slots, found.vectors, weights, self.slot[own], self.weight[own]
        )
        environments: BlockEnvironments
        if self._compiled is None or found.nearest == 0:
            environments = Environments(self.radial, self.spectrum, block)
        else:
            environments = CompiledEnvironments(self._compiled, block)
        return found.block(environments)

    def bounds(self, n_atoms: int, pairs: Pairs) -> list[tuple[int, int]]:
        """First and last (exclusive) centre of blocks with equal, bounded numbers of pairs."""
        return balanced_bounds(n_atoms, pairs, _BLOCK_PAIRS)

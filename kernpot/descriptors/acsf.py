"""DScribe's atom-centred symmetry functions, evaluated differentiably: the same numbers, exact derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from dscribe.descriptors import ACSF
from torch import Tensor

from kernpot.compilation import COMPILED
from kernpot.descriptors.adjustable import Adjustable
from kernpot.descriptors.blocks import Block, BlockEnvironments, BlockPairs, balanced_bounds
from kernpot.descriptors.compiled.triples import CompiledFunctions, CompiledSymmetry
from kernpot.descriptors.dscribe_settings import acsf_numbers
from kernpot.descriptors.features import PairwiseFeatures
from kernpot.descriptors.limits import require_cutoff, require_elements, require_features
from kernpot.descriptors.serial import acsf_arguments, acsf_from_dict, acsf_to_dict
from kernpot.descriptors.symmetry import SymmetryFunctions
from kernpot.descriptors.triples import SymmetryEnvironments
from kernpot.errors import DescriptorError, NotSmoothError
from kernpot.structures.neighbours import Pairs

# Pairs of a block: fewer than SOAP's, as each costs a step for every other neighbour of its centre.
_BLOCK_PAIRS = 1024


class ACSFFeatures(Adjustable, PairwiseFeatures):
    """Differentiable twin of a :class:`dscribe.descriptors.ACSF`.

    The features equal ``acsf.create(atoms)``, except where DScribe is at fault (below); derivatives with respect to
    positions and strain come as vector-Jacobian and Jacobian-vector products in time and memory linear in the number of
    atoms. Periodicity is the structure's own ``pbc``, in 0 to 3 directions (DScribe's ``periodic`` flag must not
    contradict it). The output is dense and in double precision whatever the descriptor's ``sparse`` and ``dtype``.

    Symmetry functions say nothing of the central atom, and vanish for an atom without neighbours. They are smooth as
    they are; *scaled to unit length*, as kernels compare them, they jump where an atom meets its first neighbour.

    Parameters
    ----------
    acsf : dscribe.descriptors.ACSF
        Read now: later changes of its parameters have no effect.

    Attributes
    ----------
    n_features : int
    species : tuple of int
        Atomic numbers the descriptor knows, ascending.
    cutoff : float
        Distance in Angstrom beyond which a neighbour contributes nothing.
    smoothness : int
        Continuous derivatives at the cutoff and where three atoms are in line: 1, or 0 for ``zeta <= 1/2``.

    Raises
    ------
    DescriptorError
        For parameters that are out of range, or with which DScribe gives NaN or infinity for some angles.

    Notes
    -----
    DScribe 2.1.2 differs, to its disadvantage, in these cases: (a) for ``zeta`` that is not whole, three atoms in line
    can give NaN, because rounding takes the cosine beyond one; (b) of periodic structures whose atoms are not wrapped
    into the cell it misses neighbours; (c) after ``acsf.r_cut = ...`` it still searches up to the old cutoff, where the
    cosine rises again; (d) parameters it means to refuse (``eta <= 0``) are taken, here as there.
    """

    kind = "acsf"
    name = "ACSF"
    vanishes = True

    def __init__(self, acsf: ACSF) -> None:
        if not isinstance(acsf, ACSF):
            raise DescriptorError(f"expected a dscribe.descriptors.ACSF, got {type(acsf).__name__}.")
        require_elements(acsf_numbers(acsf))
        require_cutoff(acsf.r_cut)
        self.acsf = acsf
        self.periodic = bool(acsf.periodic)
        self._functions = functions = SymmetryFunctions.of(acsf)
        require_features(functions.n_features, functions.n_slots)
        if not all(np.isfinite(x).all() for x in (functions.g2, functions.g3, functions.angular)):
            raise DescriptorError("expected finite parameters of symmetry functions, got NaN or infinity.")
        for k, (_, zeta, lam) in enumerate(functions.angular.tolist()):
            if (zeta < 0 and abs(lam) >= 1) or (abs(lam) > 1 and zeta != round(zeta)):
                kind = "G4" if k < functions.n_g4 else "G5"
                raise DescriptorError(
                    f"expected zeta >= 0, and lambda from -1 to 1 unless zeta is whole, got zeta={zeta:g}, "
                    f"lambda={lam:g} in a {kind}: ((1 + lambda cos) / 2)^zeta is not finite for every angle. "
                    "Use lambda=1 or -1 and zeta >= 1."
                )
        self.species = acsf_numbers(acsf)
        self.cutoff, self.smoothness = functions.cutoff, functions.smoothness
        self.n_features = functions.n_features
        self._compiled = CompiledFunctions(functions) if COMPILED else None
        self._slot = torch.full((120,), -1, dtype=torch.int64)
        self._slot[list(self.species)] = torch.arange(len(self.species))

    @property
    def descriptor(self) -> ACSF:
        """What this is the twin of."""
        return self.acsf

    def _settings(self) -> dict[str, Any]:
        return acsf_arguments(self.acsf)

    def _made(self, settings: dict[str, Any]) -> ACSFFeatures:
        return ACSFFeatures(acsf_from_dict(settings))

    def to_dict(self) -> dict[str, Any]:
        """Constructor arguments as plain data, for the model file."""
        return acsf_to_dict(self.acsf)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ACSFFeatures:
        """The twin of the ACSF that :meth:`to_dict` described."""
        return cls(acsf_from_dict(data))

    def require_smooth(self) -> None:
        """Refuse a descriptor whose forces would not be continuous.

        Raises
        ------
        NotSmoothError
            With the line to write instead.
        """
        if self.smoothness < 1:
            better = acsf_arguments(self.acsf)
            for kind in ("g4_params", "g5_params"):
                better[kind] = [
                    [eta, 1.0 if abs(lam) == 1 and 0 < zeta <= 0.5 else zeta, lam] for eta, zeta, lam in better[kind]
                ]
            arguments = ", ".join(f"{k}={v!r}" for k, v in better.items() if v != [])
            raise NotSmoothError(
                "this ACSF is not smooth where three atoms are in line: ((1 + lambda cos) / 2)^zeta has a kink there "
                "for zeta <= 1/2, and forces would jump. Use zeta >= 1:\n"
                f"    acsf = ACSF({arguments})"
            )

    def environments(self, numbers: Tensor, pairs: Pairs, first: int = 0, last: int | None = None) -> Block:
        """Environments of centres ``first`` to ``last`` of a structure.

        Parameters
        ----------
        numbers : Tensor of shape (n_atoms,), int64
            Atomic numbers.
        pairs : Pairs
            At least all pairs within the cutoff, sorted by centre.

        Raises
        ------
        DescriptorError
            Two atoms are at the same place, which leaves angles undefined.
        """
        found = BlockPairs.of(pairs, numbers, first, last, self.cutoff, self._slot, len(self.species))
        if found.nearest == 0 and self._functions.n_angular:
            same = int(np.flatnonzero(~found.vectors.numpy().any(1))[0])
            raise DescriptorError(
                f"expected atoms apart, got atoms {int(found.centres[same])} and {int(found.neighbours[same])} at the "
                "same place, where the angles of G4 and G5 are undefined. Remove one of them."
            )
        centres, n_centres = found.centres - first, found.last - found.first
        environments: BlockEnvironments
        if self._compiled is None:
            environments = SymmetryEnvironments(self._functions, n_centres, centres, found.slots, found.vectors)
        else:
            environments = CompiledSymmetry(self._compiled, n_centres, centres, found.slots, found.vectors)
        return found.block(environments)

    def bounds(self, n_atoms: int, pairs: Pairs) -> list[tuple[int, int]]:
        """First and last (exclusive) centre of blocks with equal, bounded numbers of pairs."""
        return balanced_bounds(n_atoms, pairs, _BLOCK_PAIRS)

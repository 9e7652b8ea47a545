"""Which environments become inducing: candidates from the training structures, chosen per descriptor and element."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from torch import Tensor

from kernpot.descriptors.features import Features
from kernpot.errors import InducingWarning, KernpotError, StructureError
from kernpot.functionals.descriptions import Descriptions
from kernpot.functionals.state import InducingBlock, normalise
from kernpot.gp.inducing.directions import Bases, coordinates, widen
from kernpot.gp.inducing.displaced import MOST_COPIES, displaced_copies, worst_represented
from kernpot.gp.inducing.sampling import select_environments, select_new
from kernpot.kernels import CosineFunction, CosineKernel
from kernpot.structures.checks import check_atoms, require_fitted

CANDIDATES = 20
"""Kept per inducing environment; beyond it structures are thinned at random, so that memory stays bounded."""


def unit_features(features: Features, atoms: Atoms) -> Tensor:
    """Unit-normalised features of every atom."""
    return normalise(torch.from_numpy(features(atoms)))[0]


def _described(u: Tensor, numbers: np.ndarray, element: int) -> Tensor:
    """Environments of one element that hold any density (with ``w0 = 0`` an isolated atom holds none)."""
    chosen = u[torch.from_numpy(np.flatnonzero(numbers == element))]
    return chosen[(chosen != 0).any(1)]


def shares(counts: dict[int, int], total: int) -> dict[int, int]:
    """Split ``total`` inducing environments over elements: in proportion to the square root of their abundance.

    The root keeps rare elements described; no element gets more than it has environments, and what it cannot use goes
    to the others.
    """
    share = dict.fromkeys(counts, 0)
    open_ = {z for z, n in counts.items() if n > 0}
    left = min(total, sum(counts.values()))
    while left > 0 and open_:
        weight = sum(np.sqrt(counts[z]) for z in open_)
        given = 0
        for z in sorted(open_, key=lambda z: counts[z]):
            part = min(counts[z] - share[z], max(1, int(left * np.sqrt(counts[z]) / weight)), left - given)
            share[z] += part
            given += part
        left -= given
        open_ = {z for z in open_ if share[z] < counts[z]}
    return share


class Component(NamedTuple):
    """What has inducing environments of its own: a function of the kernel of a descriptor."""

    descriptor: int
    term: int
    function: CosineFunction


def components_of(kernels: Sequence[CosineKernel]) -> list[Component]:
    """All of them, by descriptor."""
    return [Component(d, term, f) for d, kernel in enumerate(kernels) for term, f in enumerate(kernel.functions)]


def part_of(component: int, n_components: int, n_inducing: int) -> int:
    """Inducing environments of one of several components."""
    return n_inducing // n_components + (component < n_inducing % n_components)


def choose(
    structures: Descriptions,
    components: Sequence[Component],
    n_inducing: int,
    method: str,
    rng: np.random.RandomState,
    bases: Sequence[Bases],
) -> list[InducingBlock]:
    """Inducing blocks chosen from the environments of the training structures, seen in ``bases``."""
    frames = structures.atoms
    elements = sorted({int(z) for atoms in frames for z in atoms.numbers})
    n_atoms = sum(len(a) for a in frames)
    pool = list(rng.permutation(len(structures)))
    limit = max(CANDIDATES * n_inducing, 1000)
    if n_atoms > limit:
        size = np.cumsum([len(frames[k]) for k in pool])
        kept = pool[: int(np.searchsorted(size, limit)) + 1]
        # A thinned pool must still show every element.
        seen = {int(z) for k in kept for z in frames[k].numbers}
        for k in pool[len(kept) :]:
            if not set(frames[k].numbers.tolist()) <= seen:
                kept.append(k)
                seen |= set(frames[k].numbers.tolist())
        pool = kept
    pool = sorted(pool)
    blocks: list[InducingBlock] = []
    start = 0
    for c, (d, term, function) in enumerate(components):
        part = part_of(c, len(components), n_inducing)
        if part < len(elements):
            many = "descriptors" if len(components) == len(structures.descriptors) else "functions of kernels"
            raise KernpotError(
                f"n_inducing={n_inducing} is too few: {len(elements)} elements and {len(components)} {many} need "
                f"at least {len(elements) * len(components)}, or an element would have no energy of its own."
            )
        u = torch.cat([structures[k].described[d].unit for k in pool])
        numbers = np.concatenate([frames[k].numbers for k in pool])
        candidates_of = {z: coordinates(_described(u, numbers, z), bases[d].get(z)) for z in elements}
        left = {z: len(c) for z, c in candidates_of.items()}
        chosen: dict[int, Tensor] = {}
        # The rarest element first: what it cannot use, its environments being alike, goes to the others.
        for z in sorted(left, key=lambda z: left[z]):
            share = shares(left, part - sum(len(c) for c in chosen.values()))[z]
            del left[z]
            order = select_environments(candidates_of[z], share, method, rng)
            chosen[z] = candidates_of[z][torch.from_numpy(order)].contiguous()
        for z in sorted(chosen):
            columns = slice(start, start + len(chosen[z]))
            blocks.append(InducingBlock(d, z, function, chosen[z], columns, bases[d].get(z), term))
            start = columns.stop
    return blocks


def fill_up(
    blocks: Sequence[InducingBlock],
    structures: Sequence[Atoms],
    descriptors: Sequence[Features],
    n_inducing: int,
    rng: np.random.RandomState,
) -> list[InducingBlock]:
    """Inducing blocks with environments of displaced copies after their own, where these are fewer than asked for.

    See :mod:`kernpot.gp.inducing.displaced`. Nothing is drawn when there are enough, or where descriptors do not
    describe copies.
    """
    if not all(f.describes_anything for f in descriptors):
        return list(blocks)
    components = list(dict.fromkeys((b.descriptor, b.term) for b in blocks))
    held = {own: sum(len(b.environments) for b in blocks if (b.descriptor, b.term) == own) for own in components}
    missing = {
        own: min(part_of(c, len(components), n_inducing) - held[own], MOST_COPIES * held[own])
        for c, own in enumerate(components)
    }
    if not any(missing.values()):
        return list(blocks)
    copies = displaced_copies([structures[k] for k in rng.permutation(len(structures))], max(missing.values()), rng)
    numbers = np.concatenate([a.numbers for a in copies]) if copies else np.array([], dtype=np.int64)
    more: dict[int, Tensor] = {}
    for component, n_missing in missing.items():
        if not n_missing or not copies:
            continue
        u = torch.cat([unit_features(descriptors[component[0]], a) for a in copies])
        own = {k: b for k, b in enumerate(blocks) if (b.descriptor, b.term) == component}
        candidates_of = {k: coordinates(_described(u, numbers, b.element), b.basis) for k, b in own.items()}
        orders = {k: worst_represented(candidates_of[k], b) for k, b in own.items()}
        for k, share in shares({k: len(order) for k, order in orders.items()}, n_missing).items():
            more[k] = candidates_of[k][torch.from_numpy(orders[k][:share])]
    filled: list[InducingBlock] = []
    start = 0
    for k, block in enumerate(blocks):
        environments = torch.cat([block.environments, more[k]]) if k in more else block.environments
        filled.append(replace(block, environments=environments, columns=slice(start, start + len(environments))))
        start += len(environments)
    return filled


def warn_of_few(in_use: int, n_inducing: int) -> None:
    """Warn where not even displaced copies made as many inducing environments as were asked for."""
    warnings.warn(
        f"{in_use} inducing environments are used instead of {n_inducing}: the training structures hold no more "
        "distinct ones, and displacing their atoms makes none.",
        InducingWarning,
        stacklevel=3,
    )


def given(
    inducing: Sequence[Atoms],
    descriptors: Sequence[Features],
    components: Sequence[Component],
    elements: Sequence[int],
    bases: Sequence[Bases],
) -> list[InducingBlock]:
    """Inducing blocks from structures whose environments the user picked (``arrays["inducing"]`` masks atoms).

    Raises
    ------
    StructureError
        When a structure cannot be used, or the environments do not cover exactly the elements of the fit.
    """
    blocks: list[InducingBlock] = []
    start = 0
    for k, atoms in enumerate(inducing):
        check_atoms(atoms, f"inducing[{k}]")
    masks = [np.asarray(a.arrays.get("inducing", np.ones(len(a))), dtype=bool) for a in inducing]
    covered = sorted({int(z) for a, m in zip(inducing, masks, strict=True) for z in a.numbers[m]})
    if covered != sorted(elements):
        raise StructureError(
            f"inducing: the structures hold environments of {[chemical_symbols[z] for z in covered]}, expected those "
            f"of every element of the fit, {[chemical_symbols[z] for z in sorted(elements)]}, and no others."
        )
    for d, term, function in components:
        described = [unit_features(descriptors[d], a) for a in inducing]
        u = torch.cat([x[torch.from_numpy(m)] for x, m in zip(described, masks, strict=True)])
        numbers = np.concatenate([a.numbers[m] for a, m in zip(inducing, masks, strict=True)])
        for z in covered:
            candidates = coordinates(_described(u, numbers, z), bases[d].get(z))
            order = select_environments(candidates, len(candidates), "fps", 0)
            distinct = candidates[torch.from_numpy(np.sort(order))]
            columns = slice(start, start + len(distinct))
            blocks.append(InducingBlock(d, z, function, distinct.contiguous(), columns, bases[d].get(z), term))
            start += len(distinct)
    return blocks


def enlarge(
    blocks: Sequence[InducingBlock],
    inducing: Sequence[Atoms],
    descriptors: Sequence[Features],
    elements: Sequence[int],
) -> list[InducingBlock]:
    """Inducing blocks with the environments of more structures (``arrays["inducing"]`` masks atoms) after their own.

    Environments that a block holds already, or twice among the new ones, are left out with a warning.

    Raises
    ------
    StructureError
        When a structure cannot be used or holds other elements.
    """
    if isinstance(inducing, Atoms):
        raise StructureError("inducing: expected a list of ase.Atoms, got a single one; write [atoms].")
    if not isinstance(inducing, Sequence):
        raise StructureError(f"inducing: expected a list of ase.Atoms, got {inducing!r}.")
    for k, atoms in enumerate(inducing):
        check_atoms(atoms, f"inducing[{k}]")
        require_fitted(atoms, elements, f"inducing[{k}]")
    if not len(inducing):
        raise StructureError("inducing: expected at least one structure, got an empty list.")
    masks = [np.asarray(a.arrays.get("inducing", np.ones(len(a))), dtype=bool) for a in inducing]
    numbers = np.concatenate([a.numbers[m] for a, m in zip(inducing, masks, strict=True)])
    out: list[InducingBlock] = []
    repeated = 0
    for d, features in enumerate(descriptors):
        u = torch.cat([unit_features(features, a)[torch.from_numpy(m)] for a, m in zip(inducing, masks, strict=True)])
        for block in (b for b in blocks if b.descriptor == d):
            candidates = _described(u, numbers, block.element)
            basis, known = block.basis, block.environments
            if basis is not None:
                # New environments are seen whole: the basis grows by what they have outside it.
                basis = widen(basis, candidates)
                known = torch.nn.functional.pad(known, (0, basis.shape[1] - known.shape[1]))
                candidates = coordinates(candidates, basis)
            new = candidates[torch.from_numpy(select_new(candidates, known))]
            repeated += len(candidates) - len(new)
            environments = torch.cat([known, new])
            start = out[-1].columns.stop if out else 0
            columns = slice(start, start + len(environments))
            out.append(replace(block, environments=environments, columns=columns, basis=basis))
    if repeated:
        warnings.warn(
            f"{repeated} of the environments given are inducing already (or given twice) and were left out.",
            InducingWarning,
            stacklevel=3,
        )
    return out

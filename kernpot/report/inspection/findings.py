"""What of labelled structures deserves a look before a fit, in sentences, the most important first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from scipy.stats import median_abs_deviation

from kernpot.comparison.blocks import composition
from kernpot.report.findings import Finding
from kernpot.report.inspection.facts import Inspection, Quantity
from kernpot.structures.kinds import LABEL_KINDS
from kernpot.structures.likeness import listed
from kernpot.structures.missing import names_like
from kernpot.structures.plausibility import findings as contradictions
from kernpot.uncertainty.evaluation import ALL

# Atoms nearer than this part of the sum of their covalent radii are hardly meant.
_TOO_CLOSE = 0.5
# A value this many robust standard deviations from the median, and this far at least, is a look worth.
_FAR, _AT_LEAST = 20.0, {"Energy less atoms": 1.0, "Largest force": 20.0, "Pressure": 50.0, "Volume": 5.0}
# Energies of copies that differ by more contradict one another, eV/atom.
_SAME_ENERGY = 1e-3
_FEW = 5


def inspection_findings(found: Inspection) -> list[Finding]:
    """Sentences about structures and labels."""
    told: _Told = [("warning", wrong.message) for wrong in contradictions(found.labelled)]
    told += [*_missing_labels(found), *_copies(found), *_contacts(found), *_outliers(found), *_lone_atoms(found)]
    told += _small_groups(found)
    return [Finding(verdict, text, ALL) for verdict in ("warning", "note", "good") for v, text in told if v == verdict]


_Told = list[tuple[str, str]]


def _missing_labels(found: Inspection) -> _Told:
    """Files without a kind of label that others have, or with it in a part of their structures."""
    told: _Told = []
    for kind in LABEL_KINDS:
        having = sum(part.labels[kind] for part in found.files)
        lacking = [
            (part.name, missing, len(part.members))
            for part in found.files
            if (
                missing := sum(
                    found.labelled[k].label(kind) is None and _may_have(found, k, kind) for k in part.members
                )
            )
        ]
        if kind == "energy" and not having:
            told.append(("warning", "No structure has an energy: nothing can be learnt. Name it with --energy-key."))
        elif having and lacking:
            names = listed([f"{missing} of {n} in {name}" for name, missing, n in lacking])
            held = _unread(found, kind)
            hint = f" Names that may be it: {', '.join(held)} (--{kind}-key)." if held else ""
            told.append(("note" if kind == "stress" else "warning", f"Structures lack {kind}: {names}.{hint}"))
        elif not having and kind == "forces":
            held = _unread(found, kind)
            hint = f" Names that may be it: {', '.join(held)} (--forces-key)." if held else ""
            told.append(("note", f"No structure has forces: energies alone make poor potentials.{hint}"))
    return told


def _may_have(found: Inspection, k: int, kind: str) -> bool:
    return kind != "stress" or bool(found.labelled[k].atoms.pbc.all())


def _unread(found: Inspection, kind: str) -> list[str]:
    """Names in info and arrays that look like a kind of label."""
    return sorted({name for s in found.labelled if s.label(kind) is None for name in names_like(s.atoms, kind)})


def _copies(found: Inspection) -> _Told:
    if not found.copies:
        return []
    contradicting = []
    for members in found.copies:
        energies = [e / len(found.labelled[k].atoms) for k in members if (e := found.labelled[k].energy) is not None]
        if energies and max(energies) - min(energies) > _SAME_ENERGY:
            contradicting.append(members)
    more = sum(len(members) - 1 for members in found.copies)
    told: _Told = [
        ("note", f"{more} structures are exact copies of others, from {_sources(found, found.copies[0])} on: a fit "
         "learns those with the same labels once.")
    ]  # fmt: skip
    if contradicting:
        first = _sources(found, contradicting[0])
        told.append(("warning", f"{len(contradicting)} structures occur with different energies, from {first} on."))
    return told


def _contacts(found: Inspection) -> _Told:
    close = [
        f"{_pair(pair)} {contact.distance:.2f} Å in {found.labelled[contact.structure].source}"
        for pair, contact in found.contacts.items()
        if contact.distance < _TOO_CLOSE * sum(covalent_radii[z] for z in pair)
    ]
    return [("warning", f"Atoms very close to one another: {listed(close)}.")] if close else []


def _outliers(found: Inspection) -> _Told:
    told: _Told = []
    for quantity in found.quantities:
        far = outliers(quantity)
        if far.size:
            names = [
                f"{found.labelled[int(quantity.members[k])].source} ({quantity.values[k]:.4g} {quantity.unit})"
                for k in far
            ]
            median = float(np.median(quantity.values))
            text = f"{quantity.name} far from all others (median {median:.4g} {quantity.unit}): {listed(names)}."
            told.append(("warning", text))
    return told


def outliers(quantity: Quantity) -> np.ndarray:
    """Places of values far from the others, the furthest first; none where they are many, a kind of their own."""
    values, floor = quantity.values, _AT_LEAST.get(quantity.name)
    if floor is None or values.size < 2 * _FEW:
        return np.array([], dtype=np.int64)
    distance = np.abs(values - np.median(values))
    limit = max(_FAR * float(median_abs_deviation(values, scale="normal")), floor)
    far = np.flatnonzero(distance > limit)
    if far.size > 0.02 * values.size + 1:
        return np.array([], dtype=np.int64)
    return np.asarray(far[np.argsort(-distance[far])])


def _lone_atoms(found: Inspection) -> _Told:
    missing = [symbol for symbol, energy in found.isolated.items() if energy is None]
    if not missing:
        return [("good", "Every element has the energy of an isolated atom.")]
    several = len({composition(s.atoms) for s in found.labelled if len(s.atoms) > 1}) > 1
    text = (
        f"No isolated atom of {', '.join(missing)}: least squares over compositions take the place, "
        f"{'and energies between compositions rest on them' if several else 'which one composition does not need'}."
    )
    return [("note", text)]


def _small_groups(found: Inspection) -> _Told:
    small = [f"{part.name} ({len(part.members)})" for part in found.groups if len(part.members) < _FEW]
    lone = {s.config_type for s in found.labelled if len(s.atoms) > 1}
    small = [text for text in small if text.rsplit(" (", 1)[0] in lone]
    return [("note", f"Groups of fewer than {_FEW} structures: {listed(small)}.")] if small else []


def _pair(pair: tuple[int, int]) -> str:
    return f"{chemical_symbols[pair[0]]}-{chemical_symbols[pair[1]]}"


def _sources(found: Inspection, members: Sequence[int]) -> str:
    return " and ".join(found.labelled[k].source for k in members[:2])

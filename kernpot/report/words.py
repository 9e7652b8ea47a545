"""Descriptors, kernels and labels of a header in words: those of kernpot in its own, any other by what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ase import units
from ase.data import chemical_symbols

from kernpot.structures.kinds import KINDS
from kernpot.structures.noise import kind_of

Rows = list[tuple[str, str]]

# What a kernel's entry says beside its own parameters.
_OF_EVERY_KERNEL = {"kind", "elements", "amplitude", "raw_amplitude", "fixed"}
# Entries of a list that are shown.
_SHOWN = 12


def descriptor_rows(data: Mapping[str, Any]) -> Rows:
    """What a descriptor is: of a kind that is not kernpot's, the kind and all that its ``to_dict`` gave."""
    return _DESCRIPTORS.get(data.get("kind", "soap"), _other)(data)


def kernel_words(data: Mapping[str, Any]) -> str:
    """What a kernel is."""
    kind = data.get("kind", "soap")
    if kind == "soap" and "zeta" in data:
        return f"dot product to the power {data['zeta']}"
    own = [f"{name} {told(value)}" for name, value in data.items() if name not in _OF_EVERY_KERNEL]
    return ", ".join([str(kind), *own])


def amplitude_rows(data: Mapping[str, Any]) -> Rows:
    """Amplitudes of a kernel by element; where there are several terms, of each."""
    values, fixed = data["amplitude"], " (fixed)" if data.get("fixed") else ""
    several = bool(values) and isinstance(values[0], list)
    rows = []
    for term, amplitudes in enumerate(values if several else [values], 1):
        of_term = f", term {term}" if several else ""
        for number, amplitude in zip(data["elements"], amplitudes, strict=True):
            rows.append((f"Amplitude {symbol(number)}{of_term}", f"{amplitude:.4g} eV{fixed}"))
    return rows


def noise_words(group: str, value: float) -> str:
    """A noise level with the unit of its kind, as far as that is known."""
    kind = KINDS.get(kind_of(group))
    unit = "" if kind is None else f" {kind.unit}{'/atom' if kind.extensive else ''}"
    text = f"{value:.4g}{unit}"
    return f"{text} ({value / units.GPa:.3g} GPa)" if kind_of(group) == "stress" else text


def heading(name: str) -> str:
    """A name of a program's as people write it: ``n_atoms`` as ``N atoms``."""
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def told(value: Any) -> str:
    """Plain data in a line."""
    if isinstance(value, Mapping):
        return _joined([f"{name} {_within(entry)}" for name, entry in value.items()])
    if isinstance(value, str) or not isinstance(value, Sequence):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return _joined([_within(entry) for entry in value])


def symbol(number: int) -> str:
    """Chemical symbol of an atomic number."""
    return str(chemical_symbols[int(number)])


def _within(value: Any) -> str:
    single = isinstance(value, str) or not isinstance(value, Sequence | Mapping)
    return told(value) if single else f"({told(value)})"


def _joined(entries: list[str]) -> str:
    more = [f"... ({len(entries)})"] if len(entries) > _SHOWN else []
    return ", ".join([*entries[:_SHOWN], *more])


def _soap(data: Mapping[str, Any]) -> Rows:
    return [
        ("Features", f"DScribe SOAP, {data['rbf']} basis, species {', '.join(data['species'])}"),
        ("Cutoff", f"{data['r_cut']:g} Å"),
        ("n_max, l_max", f"{data['n_max']}, {data['l_max']}"),
        ("Density width sigma", f"{data['sigma']:g} Å"),
        ("Weighting", _weighting(data.get("weighting"))),
        ("Compression", str((data.get("compression") or {}).get("mode", "off"))),
    ]


def _acsf(data: Mapping[str, Any]) -> Rows:
    counts = [("G1", 1)] + [(f"G{k}", len(data.get(f"g{k}_params", []))) for k in (2, 3, 4, 5)]
    return [
        ("Features", f"DScribe ACSF, species {', '.join(data['species'])}"),
        ("Cutoff", f"{data['r_cut']:g} Å"),
        ("Functions", ", ".join(f"{count} {name}" for name, count in counts if count)),
    ]


def _given(data: Mapping[str, Any]) -> Rows:
    source = f"the function {data['function']}" if data["features"] is None else f"the array {data['features']!r}"
    jacobians = data["jacobians"]
    # The file says of a function that it gives them, and of arrays what they are called.
    of_array = f"the array {jacobians!r}" if isinstance(jacobians, str) else "from the function"
    return [
        ("Features", f"{data['n_features']} that are given, from {source}, species {', '.join(data['species'])}"),
        ("Jacobians", of_array if jacobians else "none: energies alone"),
        ("Cutoff", f"{data['cutoff']:g} Å"),
    ]


def _other(data: Mapping[str, Any]) -> Rows:
    rows = [("Features", str(data.get("kind", "of no kind")))]
    for name, value in data.items():
        if name == "species" and isinstance(value, list):
            rows.append(("Species", ", ".join(symbol(z) if isinstance(z, int) else str(z) for z in value)))
        elif name != "kind" and value is not None:
            rows.append((heading(name), f"{told(value)} Å" if name in ("cutoff", "r_cut") else told(value)))
    return rows


def _weighting(weighting: Mapping[str, Any] | None) -> str:
    if not weighting:
        return "none"
    numbers = [f"{name} {value:g}" for name, value in weighting.items() if not isinstance(value, str)]
    return ", ".join([str(weighting.get("function", "")), *numbers])


_DESCRIPTORS: dict[str, Callable[[Mapping[str, Any]], Rows]] = {"soap": _soap, "acsf": _acsf, "given": _given}

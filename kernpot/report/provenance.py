"""A model file's header as named tables, for people: what it is, learnt from, and was made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase import units
from ase.data import chemical_symbols

Section = tuple[str, list[tuple[str, str]]]

_NOISE_UNITS = {"energy": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³"}


def describe_model(header: Mapping[str, Any]) -> list[Section]:
    """Sections of name and value from a header that `kernpot.files.container.read_model` returned.

    A header says what its backend has: sections without anything to tell are left out, and ``header["sections"]``,
    pairs of titles and of pairs of names and values, adds those that only the backend knows how to put.
    """
    sections = [
        ("Model", _model(header)),
        ("Descriptor", _descriptors(header)),
        *((str(title), _told(rows)) for title, rows in dict(header.get("sections", {})).items()),
        ("Hyperparameters", _hyperparameters(header)),
        ("Isolated atoms", _isolated(header)),
        ("Training data", _data(header["summary"])),
        ("Provenance", _provenance(header)),
    ]
    return [(title, rows) for title, rows in sections if rows]


def _told(rows: Any) -> list[tuple[str, str]]:
    """Of a mapping, or of pairs, which keep their order in a file."""
    return [(str(name), str(value)) for name, value in dict(rows).items()]


def _model(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("Kind", str(header["kind"])),
        ("Elements", ", ".join(_symbol(z) for z in header["elements"])),
    ]
    if "n_inducing" in header:
        rows.append(("Inducing environments", _inducing(header)))
    return rows + [(name[:1].upper() + name[1:], value) for name, value in _told(header["summary"].get("size", {}))]


def _inducing(header: Mapping[str, Any]) -> str:
    bases = [
        n
        for n, block in zip(header["summary"].get("n_components", []), header.get("blocks", []), strict=False)
        if block.get("in_basis")
    ]
    return f"{header['n_inducing']} in {max(bases)} directions" if bases else str(header["n_inducing"])


def _descriptors(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    descriptors, kernels = header.get("descriptors", []), header.get("kernels", [])
    for index, data in enumerate(descriptors):
        prefix = f"{index + 1}. " if len(descriptors) > 1 else ""
        found = _acsf(data) if data.get("kind") == "acsf" else _soap(data)
        rows += [(prefix + name, value) for name, value in found]
        if kernels:
            rows.append((f"{prefix}Kernel", f"dot product to the power {kernels[index]['zeta']}"))
    return rows


def _soap(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Features", f"DScribe SOAP, {data['rbf']} basis, species {', '.join(data['species'])}"),
        ("Cutoff", f"{data['r_cut']:g} Å"),
        ("n_max, l_max", f"{data['n_max']}, {data['l_max']}"),
        ("Density width sigma", f"{data['sigma']:g} Å"),
        ("Weighting", _weighting(data.get("weighting"))),
        ("Compression", str((data.get("compression") or {}).get("mode", "off"))),
    ]


def _acsf(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    counts = [("G1", 1)] + [(f"G{k}", len(data.get(f"g{k}_params", []))) for k in (2, 3, 4, 5)]
    return [
        ("Features", f"DScribe ACSF, species {', '.join(data['species'])}"),
        ("Cutoff", f"{data['r_cut']:g} Å"),
        ("Functions", ", ".join(f"{count} {name}" for name, count in counts if count)),
    ]


def _weighting(weighting: Mapping[str, Any] | None) -> str:
    if not weighting:
        return "none"
    numbers = [f"{name} {value:g}" for name, value in weighting.items() if not isinstance(value, str)]
    return ", ".join([str(weighting.get("function", "")), *numbers])


def _hyperparameters(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for kernel in header.get("kernels", []):
        for number, amplitude in zip(kernel["elements"], kernel["amplitude"], strict=True):
            fixed = " (fixed)" if kernel["fixed"] else ""
            rows.append((f"Amplitude {_symbol(number)}", f"{amplitude:.4g} eV{fixed}"))
    rows += [(f"Noise {group}", _level(group, level)) for group, level in header.get("noise", {}).items()]
    for kind, misfit in header.get("misfit", {}).items():
        constant = _level(kind, misfit["constant"])
        nu = misfit.get("degrees_of_freedom")
        tails = "Gaussian tails" if nu is None else f"tails of Student's t with {nu:g} degrees of freedom"
        told = f"{constant} and {misfit['factor']:.3g} times the parameter std, {tails}"
        rows.append((f"Misfit of labels, {kind}", told))
    if header.get("log_evidence") is not None:
        rows.append(("Log evidence", f"{header['log_evidence']:.2f}"))
    found = header["summary"].get("hyperparameters", {})
    if "converged" in found:
        rows.append(("Optimisation", "converged" if found["converged"] else f"not converged: {found.get('message')}"))
    if found.get("at_bounds"):
        rows.append(("At a bound", ", ".join(map(str, found["at_bounds"]))))
    return rows


def _data(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "data" not in summary:
        return []
    data = summary["data"]
    rows = [
        ("Structures, atoms", f"{data['structures']}, {data['atoms']}"),
        ("Energies", str(data["energies"])),
        ("Force components", str(data["force_components"])),
        ("Stress components", str(data["stress_components"])),
    ]
    named = {name or "(none)": count for name, count in data.get("config_types", {}).items()}
    if named:
        rows.append(("Config types", ", ".join(f"{name} {count}" for name, count in named.items())))
    rows.append(("SHA-256 of the data", summary["data_hash"]))
    for index, update in enumerate(summary.get("updates", []), 1):
        rows.append((f"Update {index}", _update(update)))
    return rows


def _update(update: Mapping[str, Any]) -> str:
    if "inducing" in update:
        return f"{update['inducing']} inducing environments"
    if "calibration" in update:
        parts = [f"{kind} {c['factor']:.3g} on {c['structures']}" for kind, c in update["calibration"].items()]
        return f"misfit times {', '.join(parts)} held-out structures, SHA-256 {update['data_hash']}"
    return f"{update['data']['structures']} structures, SHA-256 {update['data_hash']}"


def _provenance(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    seed = header.get("parameters", {}).get("random_state")
    return [
        ("Written", str(header.get("created"))),
        ("Random state", "not fixed" if seed is None else str(seed)),
        *((name, str(version)) for name, version in header.get("versions", {}).items()),
        ("File schema", str(header.get("schema_version"))),
        ("SHA-256 of the model", str(header.get("sha256"))),
    ]


def _level(group: str, level: float) -> str:
    kind = group.split("[")[0]
    text = f"{level:.4g} {_NOISE_UNITS.get(kind, '')}"
    return f"{text} ({level / units.GPa:.3g} GPa)" if kind == "stress" else text


def _by_number(values: Mapping[str, float]) -> list[tuple[int, float]]:
    return [(int(number), energy) for number, energy in values.items()]


def _isolated(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    fitted = header["summary"].get("fitted_isolated_atoms", [])
    rows = []
    for z, energy in sorted(_by_number(header.get("isolated_atoms", {}))):
        found = " (least squares over compositions: no energy of an atom)" if _symbol(z) in fitted else ""
        rows.append((_symbol(z), f"{energy:.6f} eV{found}"))
    return rows


def _symbol(number: int) -> str:
    return str(chemical_symbols[int(number)])

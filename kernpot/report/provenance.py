"""A model file's header as named tables, for people: what it is, learnt from, and was made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase import units

from kernpot.report.words import Rows, amplitude_rows, descriptor_rows, heading, kernel_words, noise_words, symbol
from kernpot.structures.counts import counts_in_words
from kernpot.tuning.table import table

Section = tuple[str, Rows]

LEFT_OUT = "Errors on structures left out (mean absolute)"
_ERRORS = {"energy": (1000.0, "meV/atom"), "forces": (1.0, "eV/Å"), "stress": (1 / units.GPa, "GPa")}

# Of the data a fit has seen: what is told in its own words; all else is counts of further kinds of labels.
_COUNTS = {"energies": "Energies", "force_components": "Force components", "stress_components": "Stress components"}
_NO_COUNTS = {"structures", "atoms", "config_types", "files"}
_MOST_FILES = 20


def describe_model(header: Mapping[str, Any]) -> list[Section]:
    """Sections of name and value from a header that `kernpot.files.container.read_model` returned.

    A header says what its backend has: sections without anything to tell are left out, and ``header["sections"]``,
    pairs of titles and of pairs of names and values, adds those that only the backend knows how to put.
    """
    sections = [
        ("Model", _model(header)),
        ("Descriptor", _descriptors(header)),
        *((str(title), _told(rows)) for title, rows in _own_sections(header).items()),
        ("Hyperparameters", _hyperparameters(header)),
        (LEFT_OUT, _left_out(header)),
        ("Tuning", _tuning(header)),
        ("Isolated atoms", _isolated(header)),
        ("Training data", _data(header["summary"])),
        ("Provenance", _provenance(header)),
    ]
    return [(title, rows) for title, rows in sections if rows]


def _own_sections(header: Mapping[str, Any]) -> dict[Any, Any]:
    """Those the header brings; of a sum with a baseline at least what that is called."""
    sections = dict(header.get("sections", {}))
    baseline = header.get("baseline")
    if isinstance(baseline, Mapping) and "name" in baseline:
        sections.setdefault("Baseline", {"Name": baseline["name"]})
    return sections


def _told(rows: Any) -> Rows:
    """Of a mapping, or of pairs, which keep their order in a file."""
    return [(str(name), str(value)) for name, value in dict(rows).items()]


def _model(header: Mapping[str, Any]) -> Rows:
    rows = [
        ("Kind", str(header["kind"])),
        ("Elements", ", ".join(symbol(z) for z in header["elements"])),
    ]
    if "learner" in header:
        rows.append(("Learner", str(header["learner"])))
    if "n_inducing" in header:
        rows.append(("Inducing environments", _inducing(header)))
    return rows + [(name[:1].upper() + name[1:], value) for name, value in _told(header["summary"].get("size", {}))]


def _inducing(header: Mapping[str, Any]) -> str:
    bases = [
        n
        for n, block in zip(header["summary"].get("n_components", []), header.get("blocks", []), strict=False)
        if block.get("in_basis")
    ]
    told = f"{header['n_inducing']} in {max(bases)} directions" if bases else str(header["n_inducing"])
    growth = header["summary"].get("growth")
    if growth is None:
        return told
    way = f", chosen by {growth['inducing']}" if "inducing" in growth else ""
    found = header["summary"]["hyperparameters"].get("whole_space")
    if found is not None:
        told += f", {found['directions']} of them directions of a mean found among all quadratic forms"
    return f"{told}{way}; no more, because {growth['stopped']}"


def _descriptors(header: Mapping[str, Any]) -> Rows:
    rows = []
    descriptors, kernels = header.get("descriptors", []), header.get("kernels", [])
    for index, data in enumerate(descriptors):
        prefix = f"{index + 1}. " if len(descriptors) > 1 else ""
        rows += [(prefix + name, value) for name, value in descriptor_rows(data)]
        if index < len(kernels):
            rows.append((f"{prefix}Kernel", kernel_words(kernels[index])))
    return rows


def _hyperparameters(header: Mapping[str, Any]) -> Rows:
    rows = []
    kernels = header.get("kernels", [])
    for index, kernel in enumerate(kernels):
        prefix = f"{index + 1}. " if len(kernels) > 1 else ""
        rows += [(prefix + name, value) for name, value in amplitude_rows(kernel)]
    rows += [(f"Noise {group}", noise_words(group, level)) for group, level in header.get("noise", {}).items()]
    for kind, misfit in header.get("misfit", {}).items():
        constant = noise_words(kind, misfit["constant"])
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


def _left_out(header: Mapping[str, Any]) -> Rows:
    """Of all structures that the fit left out in turn, and of each group where there are several."""
    found = header["summary"].get("hyperparameters", {}).get("leave_one_out")
    if not found:
        return []
    groups = found.get("config_types", {})
    rows = [(f"All {found['structures']} left out", errors_in_words(found["mae"]))]
    if len(groups) > 1:
        rows += [
            (f"{name or '(none)'} ({own['structures']})", errors_in_words(own["mae"])) for name, own in groups.items()
        ]
    return rows


def _tuning(header: Mapping[str, Any]) -> Rows:
    """A row for each trial by which the settings were chosen."""
    tuning = header["summary"].get("tuning")
    if not tuning:
        return []
    seconds = sum(trial["seconds"] for trial in tuning["trials"])
    rows = [("Trials", f"{len(tuning['trials'])} in {seconds:.0f} s; * is chosen")]
    for row, trial in zip(table(tuning), tuning["trials"], strict=True):
        told = ", ".join(f"{name} {cell}" for name, cell in row.items() if name != "trial")
        rows.append((row["trial"], f"{told}: {trial['refused']}" if trial["refused"] else told))
    return rows


def errors_in_words(mae: Mapping[str, float]) -> str:
    """Mean absolute errors by kind of label, with their units."""
    told = {kind: _ERRORS.get(kind, (1.0, "")) for kind in mae}
    return ", ".join(f"{kind} {mae[kind] * factor:.3g} {unit}".rstrip() for kind, (factor, unit) in told.items())


def _data(summary: Mapping[str, Any]) -> Rows:
    if "data" not in summary:
        return []
    data = summary["data"]
    rows = [
        ("Structures, atoms", f"{data['structures']}, {data['atoms']}"),
        *((title, str(data[name])) for name, title in _COUNTS.items() if name in data),
        *((heading(name), str(n)) for name, n in data.items() if name not in _COUNTS.keys() | _NO_COUNTS),
    ]
    named = [f"{name or '(none)'} {count}" for name, count in data.get("config_types", {}).items()]
    if named:
        rows.append(("Config types", ", ".join(named)))
    rows += files_rows(data.get("files", {}))
    rows.append(("SHA-256 of the data", summary["data_hash"]))
    for index, update in enumerate(summary.get("updates", []), 1):
        rows.append((f"Update {index}", _update(update)))
    return rows


def files_rows(files: Mapping[str, Mapping[str, int]]) -> Rows:
    """Labels of each kind in each file, as :func:`kernpot.structures.counts.count_by_file` counts them."""
    rows = [(name, counts_in_words(count)) for name, count in list(files.items())[:_MOST_FILES]]
    return rows + ([("...", f"{len(files) - _MOST_FILES} more files")] if len(files) > _MOST_FILES else [])


def _update(update: Mapping[str, Any]) -> str:
    if "inducing" in update:
        return f"{update['inducing']} inducing environments"
    if "calibration" in update:
        parts = [f"{kind} {c['factor']:.3g} on {c['structures']}" for kind, c in update["calibration"].items()]
        return f"misfit times {', '.join(parts)} held-out structures, SHA-256 {update['data_hash']}"
    return f"{update['data']['structures']} structures, SHA-256 {update['data_hash']}"


def _provenance(header: Mapping[str, Any]) -> Rows:
    seed = header.get("parameters", {}).get("random_state")
    return [
        ("Written", str(header.get("created"))),
        ("Random state", "not fixed" if seed is None else str(seed)),
        *((name, str(version)) for name, version in header.get("versions", {}).items()),
        ("File schema", str(header.get("schema_version"))),
        ("SHA-256 of the model", str(header.get("sha256"))),
    ]


def _by_number(values: Mapping[str, float]) -> list[tuple[int, float]]:
    return [(int(number), energy) for number, energy in values.items()]


def _isolated(header: Mapping[str, Any]) -> Rows:
    fitted = header["summary"].get("fitted_isolated_atoms", [])
    rows = []
    for z, energy in sorted(_by_number(header.get("isolated_atoms", {}))):
        found = " (least squares over compositions: no energy of an atom)" if symbol(z) in fitted else ""
        rows.append((symbol(z), f"{energy:.6f} eV{found}"))
    return rows

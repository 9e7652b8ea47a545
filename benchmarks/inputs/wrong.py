"""Wrong inputs, each with the label that would be right: copper by EMT, so that every right answer is known.

A case is a function of an empty folder. It hands its input to kernpot, and returns whether what came out is right.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import write
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import Bohr, GPa, Hartree

from kernpot import NNPEnsemble, SparseGPPotential, read_structures
from kernpot.dynamics.oracles import CalculatorOracle, labelled
from kernpot.kernels import SOAPKernel

Case = Callable[[Path], bool]

SECONDS = 40
"""How long forked workers may take."""


def with_labels(atoms: Atoms, **labels: Any) -> Atoms:
    """A copy with these labels."""
    out = atoms.copy()
    out.calc = SinglePointCalculator(out, **labels)
    return out


def emt(atoms: Atoms, stress: bool = True) -> Atoms:
    """A copy with EMT's labels, forces before any constraint."""
    work = atoms.copy()
    work.set_constraint()
    work.calc = EMT()
    labels = {"energy": work.get_potential_energy(), "forces": work.get_forces()}
    if stress and atoms.pbc.all():
        labels["stress"] = work.get_stress()
    return with_labels(atoms, **labels)


def copper(n: int, seed: int = 0, strain: float = 0.03) -> list[Atoms]:
    """Strained and rattled crystals of eight atoms."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(n):
        atoms = bulk("Cu").repeat(2)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.1, rng=rng)
        found.append(emt(atoms))
    return found


def fit(frames: list[Atoms], n_inducing: int = 60, **settings: Any) -> SparseGPPotential:
    """A small fit."""
    return SparseGPPotential(n_inducing=n_inducing, random_state=0, **settings).fit(frames)


def changed(frames: list[Atoms], which: range | None = None, **factors: float) -> list[Atoms]:
    """Labels of some (all) structures multiplied."""
    out = []
    for k, atoms in enumerate(frames):
        labels = dict(atoms.calc.results)
        if which is None or k in which:
            labels |= {kind: factor * labels[kind] for kind, factor in factors.items()}
        out.append(with_labels(atoms, **labels))
    return out


def energy_error(gp: SparseGPPotential, frames: list[Atoms]) -> float:
    """Largest error of energies, eV/atom."""
    return max(
        abs(float(e) - a.get_potential_energy()) / len(a) for e, a in zip(gp.predict(frames), frames, strict=True)
    )


# ------------------------------------------------------------------ labels


def isolated(_: Path, length: float, backend: Callable[..., Any] = SparseGPPotential, **info: str) -> bool:
    """A lone atom in a periodic box."""
    atom = Atoms("Cu", cell=[length] * 3, pbc=True, info=info)
    true = emt(Atoms("Cu")).get_potential_energy()
    options = {"n_inducing": 60} if backend is SparseGPPotential else {"max_epochs": 5, "n_members": 2}
    frames = [with_labels(atom, energy=true, forces=np.zeros((1, 3))), *copper(12)]
    return bool(abs(backend(random_state=0, **options).fit(frames).isolated_atoms_[29] - true) < 1e-6)


def held(_: Path) -> bool:
    """Forces of held atoms are zero."""
    frames = []
    for seed in range(15):
        slab = fcc111("Cu", (2, 2, 4), vacuum=6.0)
        slab.rattle(0.1, seed=seed)
        true = emt(slab)
        slab.set_constraint(FixAtoms(mask=slab.get_tags() > 2))
        zeroed = np.where((slab.get_tags() > 2)[:, None], 0.0, true.get_forces())
        frames.append(with_labels(slab, energy=true.get_potential_energy(), forces=zeroed))
    return fit(frames).noise_["forces"] < 0.1


def masked(_: Path, value: float | None) -> bool:
    """Forces known in part."""
    frames = copper(12)
    for atoms in frames:
        forces = atoms.calc.results["forces"].astype(object)
        forces[0] = value
        atoms.calc.results["forces"] = forces
    return fit(frames).summary_["data"]["force_components"] == 12 * 7 * 3


def one_energy(_: Path) -> bool:
    """The energy of one structure, forces of all."""
    frames = copper(20)
    data = [frames[0], *(with_labels(a, forces=a.get_forces()) for a in frames[1:])]
    return energy_error(fit(data), frames[:1]) < 1e-3


def odd_frame(_: Path) -> bool:
    """A dimer among crystals makes the error bars of crystals no wider."""
    atom, dimer = emt(Atoms("Cu")), emt(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.3]]))
    train, test = copper(40), copper(20, seed=5)
    widths = [
        np.mean([float(p.energy.std) for p in fit([atom, *odd, *train], 80).predict_full(test)])
        for odd in ([], [dimer])
    ]
    return bool(widths[1] < 3 * widths[0])


class Smeared(Calculator):
    """EMT is the free energy, whose derivative the forces are; an entropy comes on top."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms: Any = None, *_: Any) -> None:
        """Everything."""
        super().calculate(atoms)
        true = emt(atoms, stress=False)
        free = true.get_potential_energy()
        per_atom = 0.01 + 0.004 * (atoms.get_volume() / len(atoms) - 12.0)
        self.results = {"free_energy": free, "energy": free + len(atoms) * per_atom, "forces": true.get_forces()}


def smeared(n: int) -> list[Atoms]:
    """Structures with both energies."""
    frames = [a.copy() for a in copper(n)]
    for atoms in frames:
        atoms.calc = Smeared()
        atoms.get_forces()
    return frames


def two_energies(folder: Path) -> bool:
    """Both energies in a file."""
    frames = smeared(4)
    write(folder / "dft.xyz", frames)
    read = read_structures(folder / "dft.xyz")
    return all(
        abs(a.get_potential_energy() - b.calc.results["free_energy"]) < 1e-6 for a, b in zip(read, frames, strict=True)
    )


def oracle_and_file(folder: Path) -> bool:
    """One energy for files and oracles."""
    frames = smeared(4)
    write(folder / "dft.xyz", frames)
    read = read_structures(folder / "dft.xyz")
    with CalculatorOracle(Smeared, isolate=False) as oracle:
        answers = dict(oracle.answers([a.copy() for a in frames]))
    asked = [labelled(frames[k], answers[k]) for k in range(len(frames))]
    return all(
        abs(a.get_potential_energy() - b.get_potential_energy()) < 1e-6 for a, b in zip(read, asked, strict=True)
    )


def contradicting(_: Path, which: range | None = None, **factors: float) -> bool:
    """Labels in wrong units or signs."""
    fit(changed(copper(40), which, **factors), 80)
    return False


def one_off(_: Path) -> bool:
    """One energy is off by 1 eV."""
    frames = copper(40)
    frames[11].calc.results["energy"] += 1.0
    fit(frames, 80)
    return False


# ------------------------------------------------------------------ files


def dump(folder: Path, elements: bool) -> bool:
    """A LAMMPS dump with forces."""
    lines: list[object] = []
    frames = [Atoms("Cu4", bulk("Cu", cubic=True).positions, cell=[3.6] * 3, pbc=True) for _ in range(4)]
    for step, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=step)
        true = emt(atoms)
        lines += ["ITEM: TIMESTEP", step, "ITEM: NUMBER OF ATOMS", 4, "ITEM: BOX BOUNDS pp pp pp", *["0.0 3.6"] * 3]
        lines += [f"ITEM: ATOMS id {'element' if elements else 'type'} x y z fx fy fz"]
        for k, row in enumerate(np.hstack([atoms.positions, true.get_forces()])):
            lines += [f"{k + 1} {'Cu' if elements else 1} {' '.join(f'{x:.9f}' for x in row)}"]
    path = folder / "md.lammpstrj"
    path.write_text("\n".join(map(str, lines)) + "\n")
    read = read_structures(path)
    return all("energy" not in a.calc.results and set(a.symbols) == {"Cu"} for a in read)


def header(folder: Path, *changes: tuple[str, str], crystal: bool = True) -> bool:
    """An extended-xyz header of another program."""
    frames = [with_labels(a, energy=a.get_potential_energy(), forces=a.get_forces()) for a in copper(3)]
    if not crystal:
        tetrahedron = [[0, 0, 0], [2.4, 0, 0], [0, 2.4, 0], [0, 0, 2.4]]
        frames = [emt(Atoms("Cu4", np.add(tetrahedron, 0.1 * k), cell=[6, 6, 6])) for k in range(3)]
    path = folder / "header.xyz"
    write(path, frames)
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return all(
        (a.pbc == b.pbc).all()
        and np.allclose(a.cell, b.cell)
        and {"energy", "forces"} <= set(a.calc.results if a.calc else {})
        for a, b in zip(read_structures(path), frames, strict=True)
    )


def zero_stress(folder: Path) -> bool:
    """Zeros of a stress beside the true virial."""
    frames = copper(6)
    path = folder / "both.xyz"
    write(path, frames)
    full = (-a.get_volume() * voigt_6_to_full_3x3_stress(a.get_stress()).ravel() for a in frames)
    virials = iter([" ".join(f"{x:.8f}" for x in virial) for virial in full])
    zeros = 'stress="0 0 0 0 0 0 0 0 0" virial="{}"'
    path.write_text(re.sub(r'stress="[^"]*"', lambda _: zeros.format(next(virials)), path.read_text()))
    read = read_structures(path)
    return all(np.allclose(a.get_stress(), b.get_stress(), atol=1e-6) for a, b in zip(read, frames, strict=True))


def slab_stress(_: Path) -> bool:
    """A stress on a slab."""
    slab = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    true = emt(slab)
    found = fit([with_labels(slab, **true.calc.results, stress=np.ones(6)), *copper(6)])
    return found.summary_["data"]["stress_components"] == 36


def other_names(folder: Path, *changes: tuple[str, str], alone: bool = False) -> bool:
    """Files with labels under different names."""
    frames = copper(12)
    write(folder / "a.xyz", frames[:6])
    write(folder / "b.xyz", frames[6:])
    text = (folder / "b.xyz").read_text()
    for old, new in changes:
        text = text.replace(old, new)
    (folder / "b.xyz").write_text(text)
    read = read_structures([folder / name for name in (("b.xyz",) if alone else ("a.xyz", "b.xyz"))])
    fit(read, 20)
    return all({"energy", "forces"} <= set(a.calc.results if a.calc else {}) for a in read)


def partial_occupancy(folder: Path) -> bool:
    """A disordered alloy."""
    cell = "".join(f"_cell_length_{x} 3.6\n" for x in "abc")
    cell += "".join(f"_cell_angle_{x} 90\n" for x in ("alpha", "beta", "gamma"))
    columns = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")
    sites = "Cu1 Cu 0 0 0 0.6\nNi1 Ni 0 0 0 0.4\n"
    loop = "loop_\n" + "".join(f"_atom_site_{name}\n" for name in columns)
    path = folder / "alloy.cif"
    path.write_text(f"data_x\n{cell}_symmetry_Int_Tables_number 225\n{loop}{sites}")
    read_structures(path)
    return False


# ------------------------------------------------------------------ Python


def kernel_grid(_: Path) -> bool:
    """Parameters of a kernel in a grid."""
    from sklearn.model_selection import GridSearchCV

    search = GridSearchCV(
        SparseGPPotential(kernel=SOAPKernel(), n_inducing=20, random_state=0), {"kernel__zeta": [1, 2]}, cv=2
    )
    with contextlib.suppress(AttributeError):
        search.fit(copper(8))
        return "kernel__zeta" in search.best_params_
    return False


_MODEL: dict[str, SparseGPPotential] = {}


def _largest_force(seed: int) -> float:
    atoms = bulk("Cu").repeat(2)
    atoms.rattle(0.1, seed=seed)
    atoms.calc = _MODEL["fitted"].calculator()
    return float(np.abs(atoms.get_forces()).max())


def forked(_: Path) -> bool:
    """Workers forked after the parent has computed with threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(max(2, os.cpu_count() or 2))
    try:
        _MODEL["fitted"] = fit(copper(8), 20)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            try:
                found = pool.map_async(_largest_force, range(4)).get(SECONDS)
            except multiprocessing.TimeoutError:
                return False
        return bool(np.allclose(found, [_largest_force(k) for k in range(4)]))
    finally:
        torch.set_num_threads(threads)


_PROPERTIES = ("Properties=", "properties=")
_NO_PBC = (' pbc="T T T"', "")

CASES: dict[str, dict[str, Case]] = {
    "isolated atoms": {
        "in a box of 10 Å, called isolated": partial(isolated, length=10.0, config_type="IsolatedAtom"),
        "in a box of 8 Å": partial(isolated, length=8.0),
        "networks: in a box of 10 Å": partial(isolated, length=10.0, backend=NNPEnsemble),
    },
    "forces that are no labels": {
        "zeros of held atoms": held,
        "NaN as a mask": partial(masked, value=np.nan),
        "None as a mask": partial(masked, value=None),
    },
    "LAMMPS dumps": {"without energies": partial(dump, elements=True), "with types": partial(dump, elements=False)},
    "extended-xyz headers": {
        "lattice=": lambda f: header(f, ("Lattice=", "lattice="), _NO_PBC),
        "LATTICE=": lambda f: header(f, ("Lattice=", "LATTICE="), _NO_PBC),
        "lattice= and properties=": lambda f: header(f, ("Lattice=", "lattice="), _PROPERTIES, _NO_PBC),
        "properties=": lambda f: header(f, _PROPERTIES),
        'pbc="FFF"': lambda f: header(f, ('pbc="F F F"', 'pbc="FFF"'), crystal=False),
        'pbc="[False, False, False]"': lambda f: header(
            f, ('pbc="F F F"', 'pbc="[False, False, False]"'), crystal=False
        ),
        "PBC=": lambda f: header(f, ("pbc=", "PBC="), crystal=False),
        "an empty text before energy=": lambda f: header(f, (" energy=", " config_type= energy=")),
    },
    "energies": {
        "one for many forces": one_energy,
        "free and extrapolated in a file": two_energies,
        "of an oracle and of a file": oracle_and_file,
        "one off by 1 eV": one_off,
        "in Hartree": partial(contradicting, energy=1 / Hartree),
    },
    "forces": {
        "gradients": partial(contradicting, forces=-1.0),
        "in Hartree/bohr": partial(contradicting, forces=Bohr / Hartree),
        "gradients in five structures": partial(contradicting, which=range(5), forces=-1.0),
    },
    "stress": {
        "zeros beside the true virial": zero_stress,
        "of a slab": slab_stress,
        "with VASP's sign": partial(contradicting, stress=-1.0),
        "in kbar, VASP's sign": partial(contradicting, stress=-10 / GPa),
        "in GPa": partial(contradicting, stress=1 / GPa),
        "in GPa in five structures": partial(contradicting, which=range(5), stress=1 / GPa),
    },
    "names of labels": {
        "forces and force": lambda f: other_names(f, (":forces:", ":force:")),
        "energy and REF_energy": lambda f: other_names(f, (" energy=", " REF_energy="), (":forces:", ":REF_forces:")),
        "force alone": lambda f: other_names(f, (":forces:", ":force:"), alone=True),
    },
    "others": {
        "partial occupancies": partial_occupancy,
        "a dimer among crystals": odd_frame,
        "parameters of a kernel in a grid": kernel_grid,
        "forked workers": forked,
    },
}
"""Wrong inputs by kind."""


def outcome(case: Case, folder: Path, error: type[Exception], warning: type[Warning]) -> str:
    """What becomes of an input: refused, warned, right, or wrong without a word."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            right = case(folder)
        except error:
            return "refused"
    told = any(issubclass(w.category, warning) and "labels, so their misfit" not in str(w.message) for w in caught)
    return "read right" if right else "warned" if told else "silent"

"""Fits models of both backends and writes their files and what they answer: what later versions are held to.

Run by the version whose numbers are to be kept, `python tests/stored/make.py DIR`; ``before/`` was made by commit
b35ffe3, the last one before estimators kept one fitted state. ``fits/`` holds what the same fits came to when their
numbers were last changed on purpose, `python tests/stored/make.py --answers tests/stored/fits gp_molecule gp_crystal`.
``tests/test_stored.py`` compares.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from dscribe.descriptors import SOAP

from kernpot import NNPEnsemble, SOAPKernel, SparseGPPotential, read_structures

DATA = Path(__file__).resolve().parents[2] / "examples" / "data"


def soap(species: list[str], r_cut: float, n_max: int, l_max: int) -> SOAP:
    """A small SOAP that is smooth."""
    weighting = {"function": "poly", "r0": r_cut, "c": 1.0, "m": 2}
    return SOAP(species=species, r_cut=r_cut, n_max=n_max, l_max=l_max, sigma=0.5, periodic=True, weighting=weighting)


def ethanol(first: int, last: int) -> list[Atoms]:
    """Frames of the carried ethanol data."""
    return read_structures(DATA / "ethanol_gfn2.xyz.gz")[first:last]


def dry_ice(first: int, last: int) -> list[Atoms]:
    """Frames of the carried dry-ice data."""
    return read_structures(DATA / "dry_ice_gfn1.xyz.gz")[first:last]


def gp_molecule() -> SparseGPPotential:
    """One descriptor, everything learnt later as well: partial_fit, add_inducing, calibrate."""
    gp = SparseGPPotential(soap(["H", "C", "O"], 3.5, 3, 2), n_inducing=40, random_state=0).fit(ethanol(0, 10))
    gp.partial_fit(ethanol(10, 13))
    gp.add_inducing(ethanol(13, 14))
    return gp.calibrate(ethanol(20, 26))


def gp_crystal() -> SparseGPPotential:
    """Two descriptors and powers, few directions, noise of its own for a kind of configuration, stress."""
    train = dry_ice(0, 8)
    for atoms in train[:3]:
        atoms.info["config_type"] = "first"
    gp = SparseGPPotential(
        [soap(["C", "O"], 3.0, 3, 2), soap(["C", "O"], 4.0, 2, 2)],
        n_inducing=36,
        kernel=[SOAPKernel(2), SOAPKernel(3)],
        noise={"config_type": {"first": {"forces": None}}},
        inducing="leverage",
        n_components=12,
        random_state=1,
    ).fit(train)
    return gp.update(dry_ice(8, 10))


def nnp(uncertainty: str) -> NNPEnsemble:
    """Networks of one kind, learning on once."""
    net = NNPEnsemble(
        soap(["H", "C", "O"], 3.5, 3, 2),
        hidden=(8, 8),
        n_members=3,
        uncertainty=uncertainty,
        n_components=12,
        max_epochs=30,
        random_state=0,
    ).fit(ethanol(0, 24))
    return net.partial_fit(ethanol(24, 30))


MODELS = {
    "gp_molecule": (gp_molecule, ethanol),
    "gp_crystal": (gp_crystal, dry_ice),
    "nnp_ensemble": (lambda: nnp("ensemble"), ethanol),
    "nnp_shallow": (lambda: nnp("shallow"), ethanol),
    "nnp_last_layer": (lambda: nnp("last_layer"), ethanol),
}


def answers(potential: Any, frames: list[Atoms]) -> dict[str, np.ndarray]:
    """Everything that a potential says of some structures."""
    found: dict[str, list[Any]] = {}
    for atoms in frames:
        p = potential.predict_full([atoms], covariance=True)[0]
        for name in ("energy", "energies", "forces", "stress"):
            quantity = getattr(p, name)
            if quantity is not None:
                for part in ("mean", "epistemic_std", "std"):
                    found.setdefault(f"{name}.{part}", []).append(getattr(quantity, part))
        assert p.covariance is not None
        found.setdefault("covariance", []).append(p.covariance.total)
        std = potential.energy_std(atoms)
        found.setdefault("energy_std", []).append(std.std)
        found.setdefault("energy_std.gradient", []).append(std.gradient)
        draws = potential.sample_potentials(3, random_state=5).evaluate(atoms)
        found.setdefault("draws.energies", []).append(draws.energies)
        found.setdefault("draws.forces", []).append(draws.forces)
    energies, std = potential.predict(frames, return_std=True)
    left_out = potential.left_out()
    out = {name: np.array(values) for name, values in found.items()}
    out |= {"predict": energies, "predict.std": std}
    out |= {"left_out.errors": np.concatenate([x.errors for x in left_out])}
    out |= {"left_out.std": np.concatenate([x.std for x in left_out])}
    out |= {"selected": potential.select(frames, 2).indices, "draw_scale": np.array(potential.draw_scale_)}
    return out


def frames_of(name: str) -> list[Atoms]:
    """Structures that a model is asked about; none of them was in its fit."""
    return MODELS[name][1](40, 43)


def main(folder: Path, names: list[str], files: bool) -> None:
    """Write model files, if asked to, and answers."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or list(MODELS):
        model = MODELS[name][0]()
        if files:
            model.save(folder / f"{name}.kernpot")
        np.savez_compressed(folder / f"{name}.npz", **answers(model, frames_of(name)))
        print(name, "written")


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if argument != "--answers"]
    main(Path(given[0]), given[1:], files="--answers" not in sys.argv)

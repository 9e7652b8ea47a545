"""One fit of each backend with whatever versions are installed: copper by EMT, predicted, saved, loaded.

    python tests/smoke/smoke_fit.py FOLDER

The models and the structures they were tested with, test.xyz, stay in the folder. For an environment without pytest and
extras, such as that with the oldest versions that pyproject.toml promises.
"""

import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

import kernpot
from kernpot import NNPEnsemble, SparseGPPotential


def labelled_copper(n: int, random_state: int = 0) -> list[Atoms]:
    """Rattled and strained cubic cells with energies, forces and stress of EMT."""
    rng = np.random.default_rng(random_state)
    frames = []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.1, rng=rng)
        atoms.calc = EMT()
        atoms.get_stress()
        frames.append(atoms)
    return frames


def check(
    potential: SparseGPPotential | NNPEnsemble, train: list[Atoms], test: list[Atoms], tolerance: float, folder: Path
) -> None:
    """Fit; errors of forces are within `tolerance` of their size; the file gives back what was saved."""
    predictions = potential.fit(train).predict_full(test)
    forces = np.array([atoms.get_forces() for atoms in test])
    error = np.abs(np.array([found.forces.mean for found in predictions]) - forces).mean() / np.abs(forces).mean()
    name = type(potential).__name__
    print(f"{name}: forces off by {100 * error:.1f} % of their size")
    assert error < tolerance, f"{name}: expected less than {100 * tolerance:.0f} %"
    assert all((found.forces.std > 0).all() for found in predictions)
    potential.save(folder / f"{name}.kernpot")
    loaded = kernpot.load(folder / f"{name}.kernpot").predict_full(test)
    for found, again in zip(predictions, loaded, strict=True):
        np.testing.assert_allclose(again.forces.mean, found.forces.mean, rtol=0, atol=1e-9)
        np.testing.assert_allclose(again.forces.std, found.forces.std, rtol=1e-6)


def main(folder: Path) -> None:
    """Check both backends."""
    frames = labelled_copper(24)
    train, test = frames[:20], frames[20:]
    write(folder / "test.xyz", test)
    check(SparseGPPotential(n_inducing=60, random_state=0), train, test, tolerance=0.1, folder=folder)
    check(NNPEnsemble(n_members=2, max_epochs=60, random_state=0), train, test, tolerance=0.5, folder=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

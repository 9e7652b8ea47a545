"""Checks of the physics: derivatives, symmetries, extensivity, continuity; of means and of standard deviations."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from kernpot.potential import Potential
from kernpot.testing.comparison import (
    VARIANCE_TOLERANCE,
    full,
    quantities,
    require,
    require_close,
    require_same,
    require_same_variance,
)
from kernpot.testing.derivatives import STENCIL, VOIGT, require_forces, require_stress

# Along positions (A) and strain at once.
_STD_STEP = 1e-3


def check_forces(potential: Potential, atoms: Atoms, rng: np.random.Generator) -> None:
    """Forces are minus the derivative of the energy, along random displacements of all atoms."""
    atoms.rattle(0.02, rng=rng)
    require_forces(potential, atoms, rng, 3)


def check_energy_std(potential: Potential, atoms: Atoms, rng: np.random.Generator) -> None:
    """The std of the energy has the derivatives of finite differences, along positions and, where periodic, strain."""
    atoms.rattle(0.02, rng=rng)
    found = potential.energy_std(atoms)
    require(found.std > 0, f"energy_std must be positive, got {found.std}")
    require(
        (found.stress is not None) == bool(atoms.pbc.all()), "energy_std has a stress for three periodic directions"
    )
    along = rng.normal(size=found.gradient.shape)
    strain = np.zeros((3, 3))
    expected = float((found.gradient * along).sum())
    if found.stress is not None:
        strain = 0.1 * rng.normal(size=(3, 3))
        strain = strain + strain.T
        expected += atoms.get_volume() * float(
            sum(found.stress[k] * strain[VOIGT[k]] * (1 + (k > 2)) for k in range(6))
        )

    def std(t: float) -> float:
        new = atoms.copy()
        new.positions += t * along
        if found.stress is not None:
            # Displacements are strained, too, which counts in second order only.
            new.set_cell(atoms.cell.array @ (np.eye(3) + t * strain), scale_atoms=True)
        return potential.energy_std(new).std

    differences = [std(k * _STD_STEP) - std(-k * _STD_STEP) for k in range(1, 5)]
    slope = float(np.dot(STENCIL, differences)) / _STD_STEP
    scale = float(np.linalg.norm(found.gradient) + found.std)
    require_close(expected, slope, "the derivative of energy_std, by central differences", 1e-4, scale)


def check_stress(potential: Potential, atoms: Atoms, rng: np.random.Generator) -> None:
    """Stress is the derivative of the energy with respect to strain, divided by the volume."""
    atoms.rattle(0.02, rng=rng)
    require_stress(potential, atoms, range(6))


def check_permutation(potential: Potential, atoms: Atoms, rng: np.random.Generator) -> None:
    """The order of the atoms does not matter."""
    order = rng.permutation(len(atoms))

    def permuted(name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values[order] if name in ("energies", "forces") else values

    require_same(full(potential, atoms[order]), full(potential, atoms), "another order of the atoms", permuted)


def check_translation(potential: Potential, atoms: Atoms, rng: np.random.Generator) -> None:
    """The origin does not matter."""
    moved = atoms.copy()
    moved.positions += rng.normal(size=3)
    require_same(full(potential, moved), full(potential, atoms), "all atoms translated")


def check_images(potential: Potential, atoms: Atoms, rng: np.random.Generator) -> None:
    """Neither the image of each atom nor the choice of the lattice vectors matters."""
    before = full(potential, atoms)
    atoms.positions += rng.integers(-2, 3, (len(atoms), 3)) * atoms.pbc @ atoms.cell.array
    require_same(full(potential, atoms), before, "atoms moved by lattice vectors")
    cell = atoms.cell.array.copy()
    for a, b in pairwise(np.flatnonzero(atoms.pbc)):
        cell[b] += cell[a]
    atoms.set_cell(cell)
    require_same(full(potential, atoms), before, "other lattice vectors of the same lattice")


def check_rotation(potential: Potential, atoms: Atoms, rng: np.random.Generator) -> None:
    """Energies are scalars, forces vectors, stress a tensor; their covariances turn with them."""
    turn = Rotation.from_rotvec(rng.normal(size=3)).as_matrix()
    before = full(potential, atoms, covariance=True)
    atoms.set_cell(atoms.cell.array @ turn.T)
    atoms.positions = atoms.positions @ turn.T
    after = full(potential, atoms, covariance=True)
    matrices = {"forces": np.kron(np.eye(len(atoms)), turn), "stress": voigt_rotation(turn)}
    for (name, new), (_, old) in zip(quantities(after), quantities(before), strict=True):
        if name not in matrices:
            require_close(new.mean, old.mean, f"{name} after a rotation")
            require_same_variance(new, old, f"{name} after a rotation")
            continue
        turned = (matrices[name] @ old.mean.ravel()).reshape(old.shape)
        require_close(new.mean, turned, f"{name} after a rotation")
        if before.covariance is not None and after.covariance is not None:
            # The misfit of stress is stated per Voigt component, that of forces turns with them.
            for epistemic in (True, False) if name == "forces" else (True,):
                expected = matrices[name] @ before.covariance.block(name, name, epistemic) @ matrices[name].T
                found, scale = after.covariance.block(name, name, epistemic), float((old.std**2).max())
                what = f"{'epistemic' if epistemic else 'total'} covariance of {name} after a rotation"
                require_close(found, expected, what, VARIANCE_TOLERANCE, scale, floor=0.0)


def check_supercell(potential: Potential, atoms: Atoms, _: np.random.Generator) -> None:
    """A doubled cell is the same solid: twice the energy and twice its epistemic std, for both halves err together."""
    old = full(potential, atoms)

    def doubled(name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if name == "energy":
            return 2 * values
        return values if name == "stress" else np.concatenate([values, values])

    for direction in np.flatnonzero(atoms.pbc):
        repeats = [2 if k == direction else 1 for k in range(3)]
        what = f"cell doubled along {'abc'[direction]}"
        require_same(full(potential, atoms.repeat(repeats)), old, what, doubled)


def check_separation(potential: Potential, atoms: Atoms, rng: np.random.Generator) -> None:
    """Clusters far apart do not feel each other: energies add up; forces and all std of the atoms stay."""
    one = Atoms(atoms.numbers, atoms.positions)
    two = one.copy()
    two.rattle(0.05, rng=rng)
    far = two.copy()
    far.positions[:, 0] += np.ptp(one.positions[:, 0]) + potential.cutoff + 1.0
    a, b, both = full(potential, one), full(potential, two), full(potential, one + far)
    require_close(both.energy.mean, a.energy.mean + b.energy.mean, "energy of two clusters far apart")
    sum_of_stds = float(a.energy.epistemic_std + b.energy.epistemic_std)
    spread = float(both.energy.epistemic_std)
    require(
        spread <= sum_of_stds * (1 + VARIANCE_TOLERANCE) + 1e-9,
        f"epistemic std {spread:.3g} eV of two clusters far apart exceeds the sum of theirs, {sum_of_stds:.3g} eV",
    )
    for (name, joint), (_, first), (_, second) in zip(quantities(both), quantities(a), quantities(b), strict=True):
        if name == "energy":
            continue
        for part in ("mean", "epistemic_std", "std"):
            expected = np.concatenate([getattr(first, part), getattr(second, part)])
            require_close(getattr(joint, part) ** 2, expected**2, f"{part} squared of {name} of two clusters far apart")


def check_cutoff(potential: Potential, atoms: Atoms, _: np.random.Generator) -> None:
    """Energy, forces and their epistemic std are continuous where a neighbour crosses the cutoff."""
    inside, outside = (
        full(potential, Atoms(atoms.numbers[[0, -1]], [[0, 0, 0], [0, 0, potential.cutoff + d]])) for d in (-1e-6, 1e-6)
    )
    for name in ("energy", "forces"):
        new, old = getattr(inside, name), getattr(outside, name)
        what = f"{name} as a neighbour crosses the cutoff ({potential.cutoff:.3f} A)"
        require_close(new.mean, old.mean, what, tolerance=0.0, floor=1e-5)
        require_close(new.epistemic_std, old.epistemic_std, f"epistemic std of {what}", 1e-3, floor=1e-5)


def voigt_rotation(turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix (6, 6) that takes the Voigt components of a symmetric tensor ``s`` to those of ``turn s turn^T``."""
    columns = []
    for a, b in VOIGT:
        tensor = np.zeros((3, 3))
        tensor[a, b] = tensor[b, a] = 1.0
        turned = turn @ tensor @ turn.T
        columns.append([turned[c, d] for c, d in VOIGT])
    return np.array(columns).T

"""Rows of labelled structures: what is subtracted, what they are divided by, and which level of noise they share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from kernpot.functionals.rows import energy_rows, force_rows, stress_rows
from kernpot.functionals.state import Structure
from kernpot.gp.fitted import FittedGP
from kernpot.gp.rows.maker import LabelRows, RowMaker
from kernpot.structures.labels import label_structures
from kernpot.structures.noise import NoiseModel
from tests.gp.small import ISOLATED, fitted
from tests.helpers.systems import crystals, labelled


@pytest.fixture(scope="module")
def gp() -> FittedGP:
    return fitted().fitted_


def crystal(**info: object) -> Atoms:
    atoms = crystals(1, seed=2, symbols="Cu3Au")[0]
    atoms.info.update(info)
    return atoms


def by_group(gp: FittedGP, atoms: Atoms, noise: NoiseModel | None = None) -> dict[str, LabelRows]:
    maker = RowMaker(gp.features, gp.whitening, noise or NoiseModel(), gp.isolated)
    (one,) = label_structures([atoms])
    parts = list(maker(one, Structure(gp.features, one.atoms)))
    assert len({part.group for part in parts}) == len(parts)  # these are small: forces come in one piece
    return {part.group: part for part in parts}


def test_labels_are_those_of_the_structure_less_isolated_atoms(gp: FittedGP) -> None:
    atoms = crystal()
    found = by_group(gp, atoms)
    free = atoms.get_potential_energy() - 3 * ISOLATED[29] - ISOLATED[79]
    np.testing.assert_allclose(found["energy"].targets, [free / 4], rtol=1e-12)
    np.testing.assert_array_equal(found["forces"].targets, atoms.get_forces().ravel())
    np.testing.assert_array_equal(found["stress"].targets, atoms.get_stress())


def test_rows_and_priors_are_whitened_ones_per_atom(gp: FittedGP) -> None:
    """Products of rows do not know the whitening: they are those with the dense inverse."""
    atoms, blocks = crystal(), gp.whitening.blocks
    structure = Structure(gp.features, atoms)
    own = {
        "energy": energy_rows(structure, blocks),
        "forces": tuple(torch.cat(x) for x in zip(*(part[1:] for part in force_rows(structure, blocks)), strict=True)),
        "stress": stress_rows(structure, blocks),
    }
    prior = torch.block_diag(*(factor @ factor.mT for factor in gp.whitening.factors)).numpy()
    for kind, part in by_group(gp, atoms).items():
        rows, variance = own[kind]
        scale = 4.0 if kind == "energy" else 1.0
        expected = rows.numpy() @ np.linalg.solve(prior, rows.numpy().T) / scale**2
        np.testing.assert_allclose(part.rows @ part.rows.mT, expected, rtol=0, atol=1e-7 * np.abs(expected).max())
        torch.testing.assert_close(part.prior, variance / scale**2)


def test_a_supercell_says_the_same_of_energies_and_stress(gp: FittedGP) -> None:
    one, six = (by_group(gp, labelled(crystal().repeat(n))) for n in ((1, 1, 1), (1, 2, 3)))
    for kind in ("energy", "stress"):
        torch.testing.assert_close(six[kind].rows, one[kind].rows, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(six[kind].targets, one[kind].targets, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(six[kind].prior, one[kind].prior, rtol=1e-7, atol=1e-9)


def test_a_scale_of_noise_divides_all_there_is_of_a_label(gp: FittedGP) -> None:
    plain, scaled = by_group(gp, crystal()), by_group(gp, crystal(noise_scale={"forces": 3.0, "energy": 0.5}))
    for kind, scale in (("energy", 0.5), ("forces", 3.0), ("stress", 1.0)):
        torch.testing.assert_close(scale * scaled[kind].rows, plain[kind].rows)
        torch.testing.assert_close(scale * scaled[kind].targets, plain[kind].targets)
        torch.testing.assert_close(scale**2 * scaled[kind].prior, plain[kind].prior)


def test_absent_labels_have_no_rows_and_types_with_levels_have_groups(gp: FittedGP) -> None:
    noise = NoiseModel(config_type={"odd": {"forces": 0.3}})
    found = by_group(gp, labelled(crystal(config_type="odd"), ["energy", "forces"]), noise)
    assert {group: part.kind for group, part in found.items()} == {"energy": "energy", "forces[odd]": "forces"}

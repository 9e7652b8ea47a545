"""Products with labels of quadratic forms, against potentials of these forms and against each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from torch import Tensor

from kernpot.descriptors import SOAPFeatures
from kernpot.functionals.form_products import FormBlock, FormProducts, FormSpace
from kernpot.functionals.state import Structure
from kernpot.kernels.forms import QuadraticForms
from kernpot.surfaces.potentials import Potentials, Term
from tests.helpers.systems import soap

K = 3


def _crystal() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", 5.6).repeat((2, 1, 1))
    atoms.rattle(0.1, seed=1)
    return atoms


def _molecule() -> Atoms:
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=2)
    return atoms


CASES = [(_crystal(), 1), (_molecule(), 1), (_crystal(), 2)]


def _made(atoms: Atoms, n_descriptors: int) -> tuple[list[SOAPFeatures], FormSpace, list[Tensor]]:
    elements = sorted(set(atoms.numbers.tolist()))
    cutoffs = [4.0, 3.0][:n_descriptors]
    features = [SOAPFeatures(soap(sorted(set(atoms.symbols)), cutoff=r)) for r in cutoffs]
    generator = torch.Generator().manual_seed(0)
    blocks = []
    for d, f in enumerate(features):
        for z in elements:
            spread = torch.randn(f.n_features, 6, dtype=torch.float64, generator=generator)
            blocks.append(FormBlock(d, z, torch.linalg.qr(spread)[0]))
    space = FormSpace(blocks)
    vectors = torch.randn(K, space.n, dtype=torch.float64, generator=generator)
    return features, space, [form + form.mT for form in space.forms(vectors)]


@pytest.mark.parametrize(("atoms", "n_descriptors"), CASES)
def test_labels_are_those_of_a_potential(atoms: Atoms, n_descriptors: int) -> None:
    features, space, forms = _made(atoms, n_descriptors)
    labels = FormProducts([Structure(features, atoms)], space).labels(forms)[0]
    assert ("stress" in labels) == bool(atoms.pbc.all())
    for k in range(K):
        terms = [
            Term(b.descriptor, b.element, QuadraticForms([form[k]], b.basis))
            for b, form in zip(space.blocks, forms, strict=True)
        ]
        by_element = [t for t in terms if t.descriptor == 0]
        expected = [Potentials([features[0]], by_element, {}, 1)(atoms)]
        if n_descriptors == 2:
            others = [t._replace(descriptor=0) for t in terms if t.descriptor == 1]
            expected.append(Potentials([features[1]], others, {}, 1)(atoms))
        assert float(labels["energy"][k, 0]) == pytest.approx(sum(p.energies[0] for p in expected), abs=1e-12)
        forces = sum(p.forces[0] for p in expected)
        np.testing.assert_allclose(labels["forces"][k].numpy(), np.ravel(forces), atol=1e-12)
        if "stress" in labels:
            stress = [p.stress[0] for p in expected if p.stress is not None]
            np.testing.assert_allclose(labels["stress"][k].numpy(), np.sum(stress, axis=0), atol=1e-13)


@pytest.mark.parametrize(("atoms", "n_descriptors"), CASES)
def test_sums_are_the_transpose(atoms: Atoms, n_descriptors: int) -> None:
    features, space, forms = _made(atoms, n_descriptors)
    products = FormProducts([Structure(features, atoms)], space)
    labels = products.labels(forms)[0]
    generator = torch.Generator().manual_seed(3)
    every = {kind: torch.randn(of.shape, dtype=torch.float64, generator=generator) for kind, of in labels.items()}
    for weights in [every, *({kind: of} for kind, of in every.items())]:
        sums = [torch.zeros_like(form) for form in forms]
        products.add_sums([weights], sums)
        for k in range(K):
            forward = sum(float(of[k] @ labels[kind][k]) for kind, of in weights.items())
            back = sum(float(((y[k] + y[k].mT) * form[k]).sum()) for y, form in zip(sums, forms, strict=True))
            assert back == pytest.approx(forward, rel=1e-10)


@pytest.mark.parametrize(("atoms", "n_descriptors"), CASES)
def test_single_precision_is_that_of_its_numbers(atoms: Atoms, n_descriptors: int) -> None:
    features, space, forms = _made(atoms, n_descriptors)
    structure = Structure(features, atoms)
    double, single = FormProducts([structure], space), FormProducts([structure], space.single())
    rough = [form.float() for form in forms]
    expected, labels = double.labels(forms)[0], single.labels(rough)[0]
    for kind, of in expected.items():
        assert labels[kind].dtype == torch.float64
        np.testing.assert_allclose(labels[kind].numpy(), of.numpy(), atol=1e-5 * float(of.abs().max()))
    sums, rough_sums = [torch.zeros_like(form) for form in forms], [torch.zeros_like(form) for form in rough]
    double.add_sums([expected], sums)
    single.add_sums([expected], rough_sums)
    for of, got in zip(sums, rough_sums, strict=True):
        np.testing.assert_allclose(got.numpy(), of.numpy(), atol=1e-5 * float(of.abs().max()))


@pytest.mark.parametrize("n_descriptors", [1, 2])
def test_several_structures_at_once_are_as_one_after_the_other(n_descriptors: int) -> None:
    """Without an element of the space, with other labels, in a cell and without."""
    crystal, alone = _crystal(), Atoms("Na")
    features, space, forms = _made(crystal, n_descriptors)
    structures = [Structure(features, atoms) for atoms in (crystal, alone, crystal[:3])]
    together = FormProducts(structures, space)
    labels = together.labels(forms)
    weights = [{kind: of for kind, of in found.items() if kind != "energy" or s} for s, found in enumerate(labels)]
    sums, expected = [torch.zeros_like(form) for form in forms], [torch.zeros_like(form) for form in forms]
    together.add_sums(weights, sums)
    for structure, found, weight in zip(structures, labels, weights, strict=True):
        one = FormProducts([structure], space)
        for kind, of in one.labels(forms)[0].items():
            torch.testing.assert_close(found[kind], of, rtol=1e-12, atol=1e-14)
        one.add_sums([weight], expected)
    for got, of in zip(sums, expected, strict=True):
        torch.testing.assert_close(got, of, rtol=1e-12, atol=1e-13)

"""What is asked of features before they are used: forces, and any geometry."""

from __future__ import annotations

from collections.abc import Iterable

from kernpot.descriptors.features import Features
from kernpot.errors import DescriptorError


def require_forces(features: Iterable[Features]) -> None:
    """Refuse what needs forces where features know energies only.

    Raises
    ------
    DescriptorError
        Features were given without Jacobians.
    """
    if any(f.knows == "energy" for f in features):
        raise DescriptorError(
            "the features were given without Jacobians, so the potential knows energies only: ask "
            "predict(structures, return_std=True), or fit with features that have Jacobians."
        )


def require_any_geometry(features: Iterable[Features]) -> None:
    """Refuse what moves atoms where features come with the structures.

    Raises
    ------
    DescriptorError
        Features are arrays on the atoms.
    """
    if not all(f.describes_anything for f in features):
        raise DescriptorError(
            "a calculator moves atoms, and features that are arrays on them belong to one geometry: give a "
            "function of the structure, GivenFeatures(function, ..., jacobians=True), or ask predict_full."
        )

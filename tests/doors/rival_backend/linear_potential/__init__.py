"""A backend of another package: Bayesian linear regression of atomic energies on a descriptor."""

from linear_potential.estimator import LinearPotential

__all__ = ["LinearPotential"]

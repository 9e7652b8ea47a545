"""Floating-point operations and bytes per atom of every stage, from the sizes alone: what a roofline is drawn with.

Symbols: ``P`` neighbours of an atom, ``n`` and ``l`` radial functions and degree, ``Y = (l + 1)^2`` harmonics, ``q``
species times ``n``, ``d`` features, ``r`` directions of the inducing environments, of which there are ``M``.
A multiplication and an addition count one each. Bytes are what a stage must read and write once, 8 per number, were
nothing kept in a cache; matrices shared by all atoms (inducing environments, triangles) are read once per block of
atoms and not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

# The radial functions are polynomials of degree seven; harmonics and their gradients by recursion.
_VALUE, _SLOPE = 15, 32
_HARMONIC, _GRADIENT = 6, 15


@dataclass(frozen=True)
class Sizes:
    """Sizes that the cost of a model depends on.

    Attributes
    ----------
    neighbours : float
        Mean number of neighbours of an atom.
    n_max, l_max : int
    n_slots : int
        Species channels of the expansion.
    n_features : int
    n_directions : int
        Directions of the inducing environments: ``n_components``, or all features.
    n_inducing : int
        Inducing environments; for several elements those of one for the mean, all for the rows.
    zeta : int
    """

    neighbours: float
    n_max: int
    l_max: int
    n_slots: int
    n_features: int
    n_directions: int
    n_inducing: int
    zeta: int

    @property
    def harmonics(self) -> int:
        """Real spherical harmonics up to ``l_max``."""
        return (self.l_max + 1) ** 2

    @property
    def coefficients(self) -> int:
        """Expansion coefficients of an atom."""
        return self.n_slots * self.n_max * self.harmonics

    def products(self, n_outputs: int) -> float:
        """Operations of one feature vector times the inducing environments, or times a form of that many outputs."""
        if self.n_directions == self.n_features:
            return 2 * self.n_features * n_outputs
        return 2 * self.n_directions * (self.n_features + n_outputs)


Cost = tuple[float, float]


def mean_costs(s: Sizes) -> dict[str, Cost]:
    """Operations and bytes per atom of energy, forces and stress."""
    p, n, y, q = s.neighbours, s.n_max, s.harmonics, s.n_slots * s.n_max
    radial, c = n * (s.l_max + 1), s.coefficients
    expansion = p * (_VALUE * radial + _HARMONIC * y + 2 * n * y)
    spectrum = q * (q + 1) * y
    if s.zeta == 2:
        kernel = s.products(s.n_directions)
        if s.n_directions < s.n_features:
            kernel += 2 * s.n_directions * s.n_features
    else:
        kernel = 2 * s.products(s.n_inducing)
    pull = 2 * q * q * y + p * (_SLOPE * radial + (_HARMONIC + _GRADIENT) * y + 4 * n * y + 15 * y)
    return {
        "expansion": (expansion, 8 * (3 * p + c)),
        "power spectrum": (spectrum, 8 * (c + s.n_features)),
        "kernel": (kernel, 8 * 3 * s.n_features),
        "pull-back": (pull, 8 * (s.n_features + 2 * c + 6 * p)),
    }


def std_costs(s: Sizes) -> dict[str, Cost]:
    """Operations and bytes per atom of three force rows, their prior variances and their posterior variances.

    The double sums over all atoms behind the prior variance of the energy and the stress are not counted.
    """
    p, n, y, q = s.neighbours + 1, s.n_max, s.harmonics, s.n_slots * s.n_max
    d, m = s.n_features, s.n_inducing
    return {
        "tangents": (3 * p * (6 * n * y + 2 * n * q * y), 8 * p * (3 * d + s.coefficients)),
        "rows": (p * (3 * s.products(m) + 15 * m), 8 * (p * (3 * d + 4 * m) + 3 * m)),
        "prior": (7 * p * (p + 1) * d, 8 * 4 * p * d),
        "whitening": (3 * m * m, 8 * 6 * m),
        "posterior": (3 * m * m, 8 * 3 * m),
    }


def fit_costs(s: Sizes) -> dict[str, Cost]:
    """Operations and bytes per atom with labelled forces: rows, prior variances, and QR of blocks of 2 M + M rows."""
    m = s.n_inducing
    std = std_costs(s)
    # A Householder QR of (a, M) takes 2 M^2 (a - M / 3) operations; each of 3 M rows folds in 2 M new ones.
    qr = 3 * (2 * m * m * (3 * m - m / 3)) / (2 * m)
    return {name: std[name] for name in ("tangents", "rows", "prior", "whitening")} | {"QR": (qr, 8 * 3 * m)}

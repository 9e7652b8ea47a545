"""Candidate settings of the neural-network ensemble, by data set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dscribe.descriptors import SOAP

from benchmarks.shared import smoke
from kernpot import NNPEnsemble


@dataclass(frozen=True)
class NNPSetting:
    """A candidate: descriptor as (r_cut, n_max, l_max, sigma, m), its compression, and the networks."""

    descriptor: tuple[float, int, int, float, int]
    compression: str = "off"
    hidden: tuple[int, ...] = (32, 32)
    n_components: int = 128
    max_epochs: int = 100

    def small(self) -> NNPSetting:
        """The same at the size of a smoke run."""
        r_cut, *_, m = self.descriptor
        return replace(self, descriptor=(min(r_cut, 4.0), 3, 2, 0.5, m), hidden=(4,), n_components=8, max_epochs=3)

    def estimator(self, species: list[str], **parameters: Any) -> NNPEnsemble:
        """An unfitted ensemble with this setting."""
        if smoke.folder() is not None and self != self.small():
            return self.small().estimator(species, **parameters)
        r, n, degree, sigma, m = self.descriptor
        soap = SOAP(
            species=species,
            r_cut=r,
            n_max=n,
            l_max=degree,
            sigma=sigma,
            periodic=True,
            weighting={"function": "poly", "r0": r, "c": 1.0, "m": m},
            compression={"mode": self.compression, "species_weighting": None},
        )
        return NNPEnsemble(
            soap,
            hidden=self.hidden,
            n_components=self.n_components,
            max_epochs=self.max_epochs,
            **{"random_state": 0, **parameters},
        )

    @classmethod
    def of(cls, stored: dict[str, Any]) -> NNPSetting:
        """The setting chosen in a stored result."""
        return cls(**(stored | {"descriptor": tuple(stored["descriptor"]), "hidden": tuple(stored["hidden"])}))


_SOLID = (
    NNPSetting((5.0, 10, 6, 0.5, 1)),
    NNPSetting((5.5, 10, 6, 0.5, 1)),
    NNPSetting((6.0, 10, 6, 0.5, 1)),
    NNPSetting((5.5, 12, 8, 0.4, 1)),
    NNPSetting((5.5, 10, 6, 0.5, 1), max_epochs=300),
)
_MOLECULE = (
    NNPSetting((4.5, 6, 5, 0.3, 1), "mu1nu1"),
    NNPSetting((4.5, 6, 5, 0.3, 1), "mu1nu1", n_components=200),
    NNPSetting((4.5, 6, 5, 0.3, 1), n_components=200),
)
NNP_CANDIDATES = {"Si": _SOLID, "Mo": _SOLID, "3bpa": _MOLECULE, "acac": _MOLECULE, "ethanol": _MOLECULE}

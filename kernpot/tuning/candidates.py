"""Which descriptors are tried: settings of a SOAP as plain data, and the changes to each of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from dscribe.descriptors import SOAP

from kernpot.descriptors.limits import LARGEST_L_MAX
from kernpot.descriptors.serial import soap_arguments
from kernpot.errors import DescriptorError

Change = dict[str, Any]

_CUTOFFS = (0.85, 1.0, 1.2)
_SIGMAS = (0.3, 0.4, 0.5)
_POWERS = (1.0, 2.0, 4.0)
# Beyond it DScribe's radial functions are hardly independent; a descriptor that was given may have more.
_MOST_N_MAX = 10


@dataclass(frozen=True)
class Settings:
    """What is chosen of a SOAP; all else is that of the one it started from.

    Attributes
    ----------
    r_cut : float
        Angstrom.
    n_max, l_max : int
    sigma : float
        Angstrom.
    m : float
        Power of the polynomial by which neighbours are weighted.
    compression : str
        Its mode.
    """

    r_cut: float
    n_max: int
    l_max: int
    sigma: float
    m: float
    compression: str

    @classmethod
    def of(cls, soap: SOAP) -> Self:
        """Those of a descriptor.

        Raises
        ------
        DescriptorError
            Its neighbours are not weighted by a polynomial.
        """
        found = soap_arguments(soap)
        weighting = found["weighting"] or {}
        if weighting.get("function") != "poly":
            raise DescriptorError(
                f"descriptor: expected a SOAP whose neighbours are weighted by a polynomial, got the weighting "
                f"{found['weighting']!r}; start from weighting={{'function': 'poly', 'r0': {found['r_cut']!r}, 'c': "
                "1.0, 'm': 1}, or from descriptor=None."
            )
        mode = found["compression"].get("mode", "off")
        return cls(found["r_cut"], found["n_max"], found["l_max"], found["sigma"], weighting["m"], mode)

    def applied(self, base: SOAP) -> SOAP:
        """The descriptor with these settings, and all others of the one it started from."""
        if self == Settings.of(base):
            return base
        found = soap_arguments(base)
        wider = self.r_cut / found["r_cut"]
        changed = asdict(self)
        weighting = found["weighting"] | {"m": changed.pop("m"), "r0": found["weighting"]["r0"] * wider}
        compression = found["compression"] | {"mode": changed.pop("compression")}
        return SOAP(**(found | changed | {"weighting": weighting, "compression": compression}))


def changes(base: Settings, n_species: int) -> list[list[Change]]:
    """What is tried, one list for each setting, the value it started from included.

    Parameters
    ----------
    base : Settings
        Cutoffs and the size of the basis are about these.
    n_species : int
        Compression is for several.
    """
    basis = [
        (max(base.n_max - 2, 1), max(base.l_max - 1, 0)),
        (base.n_max, base.l_max),
        (min(base.n_max + 2, max(_MOST_N_MAX, base.n_max)), min(base.l_max + 1, LARGEST_L_MAX)),
    ]
    modes = ("off", "mu1nu1") if n_species > 1 else ()
    return [
        [{"r_cut": round(factor * base.r_cut, 2)} for factor in _CUTOFFS],
        [{"sigma": sigma} for sigma in sorted({*_SIGMAS, base.sigma})],
        [{"n_max": n_max, "l_max": l_max} for n_max, l_max in basis],
        [{"m": m} for m in sorted({*_POWERS, base.m})],
        [{"compression": mode} for mode in dict.fromkeys((base.compression, *modes))],
    ]

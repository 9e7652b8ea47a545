"""Total energies."""

from kernpot.structures.checks import check_energy
from kernpot.structures.kinds.kind import LabelKind

ENERGY = LabelKind(
    name="energy",
    unit="eV",
    shape=lambda _: (),
    check=lambda value, _, source: check_energy(value, source),
    floor=1e-5,
    start=1e-3,
    expected=1e-3,
    unseen=0.01,
    counted="energies",
    extensive=True,
    centred=True,
)

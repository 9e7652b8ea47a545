"""Stress of structures that are periodic in three directions."""

from kernpot.structures.checks import check_stress
from kernpot.structures.kinds.kind import LabelKind

STRESS = LabelKind(
    name="stress",
    unit="eV/Å³",
    shape=lambda _: (6,),
    check=check_stress,
    floor=1e-6,
    start=1e-4,
    expected=1e-3,
    unseen=0.005,
    counted="stress_components",
    together=6,
    pooled="components",
)

"""Labels as functionals of the local energy, by kind: the rows of each in a file of its own.

With the kind (:mod:`kernpot.structures.kinds`) that is all that a fit, its calibration and its answers ask for.
"""

from kernpot.functionals.labels.energy import ENERGY
from kernpot.functionals.labels.forces import FORCES
from kernpot.functionals.labels.functional import LabelFunctional, Part
from kernpot.functionals.labels.stress import STRESS

FUNCTIONALS: dict[str, LabelFunctional] = {f.kind: f for f in (ENERGY, STRESS, FORCES)}
"""All that are known, by kind, in the order in which rows are made."""


def register(functional: LabelFunctional) -> LabelFunctional:
    """Let fits learn labels of a kind, from now on; gives it back.

    Raises
    ------
    ValueError
        There is another one for that kind.
    """
    if FUNCTIONALS.setdefault(functional.kind, functional) is not functional:
        raise ValueError(f"labels of kind {functional.kind!r} have rows already")
    return functional


__all__ = ["FUNCTIONALS", "LabelFunctional", "Part", "register"]

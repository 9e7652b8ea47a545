"""Labels as functionals of the local energy, by kind: the rows of each in a file of its own.

With the kind (:mod:`kernpot.structures.kinds`) that is all that a fit, its calibration and its answers ask for.
"""

from kernpot.errors import KernpotError
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


def functional_of(kind: str) -> LabelFunctional:
    """What labels of a kind are to a model.

    Raises
    ------
    KernpotError
        The kind is known, but nobody has said what its rows are.
    """
    if kind not in FUNCTIONALS:
        raise KernpotError(
            f"labels of kind {kind!r} have no rows, by which they are learnt and predicted; register them, "
            f"kernpot.functionals.labels.register(LabelFunctional({kind!r}, ...)), or leave such labels out"
        )
    return FUNCTIONALS[kind]


__all__ = ["FUNCTIONALS", "LabelFunctional", "Part", "functional_of", "register"]

"""Bridge between gpytorch kernels and the evidence: amplitudes per inducing block, noise levels per group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kernpot.calibration.misfit import Misfit
from kernpot.errors import StructureError
from kernpot.functionals.labels import functional_of
from kernpot.regression.evidence import NOISE_BOUNDS
from kernpot.regression.factor import LabelFactor
from kernpot.structures.kinds import KINDS
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import NoiseModel, kind_of

START = 0.05
"""Where optimisation starts: this part of the labels' spread, no lower than where their kind does."""


def starting_noise(
    labelled: Sequence[LabelledStructure], noise: NoiseModel, isolated: Mapping[int, float]
) -> dict[str, float]:
    """Noise of every group present: the user's, else 5 % of the spread of its labels.

    Raises
    ------
    StructureError
        The spread is beyond anything that can be learnt; the frame with the label furthest from the others is named.
    """
    values: dict[str, list[float]] = {}
    sources: dict[str, list[str]] = {}
    for s in labelled:
        for kind in s.kinds:
            free = np.ravel(s.label(kind)) - functional_of(kind).fixed(s.atoms.numbers, isolated)
            free = free[s.known(kind)]
            found = (free / len(s.atoms) if KINDS[kind].extensive else free).tolist()
            values.setdefault(noise.group(s, kind), []).extend(found)
            sources.setdefault(noise.group(s, kind), []).extend([s.source] * len(found))
    fixed = noise.fixed
    out = {}
    for group, found in values.items():
        kind = kind_of(group)
        away = np.array(found) - (np.median(found) if KINDS[kind].centred else 0.0)
        with np.errstate(over="ignore"):
            spread = np.std(found) if KINDS[kind].centred else np.sqrt(np.mean(np.square(found)))
        if not START * spread < NOISE_BOUNDS[1]:
            worst = int(np.abs(away).argmax())
            raise StructureError(
                f"{sources[group][worst]}: a label of {group} lies {abs(away[worst]):.3g} {KINDS[kind].unit} from "
                "what the others say; check its unit, or leave this frame out."
            )
        out[group] = fixed.get(group, max(START * float(spread), KINDS[kind].start))
    return out


def misfit_of(noise: Mapping[str, float], factors: Mapping[str, LabelFactor]) -> dict[str, Misfit]:
    """Misfit per label kind for structures to come: the noise of the kind, averaged over groups that have their own.

    A kind without labels gets a stated guess (see :func:`warn_unseen`).
    """
    out = {}
    for kind in KINDS:
        groups = [g for g in factors if kind_of(g) == kind]
        if kind in groups:
            out[kind] = Misfit(float(noise[kind]))
        elif groups:
            weights = np.array([factors[g].n_rows for g in groups], dtype=float)
            out[kind] = Misfit(float(np.sqrt(np.average([noise[g] ** 2 for g in groups], weights=weights))))
        else:
            out[kind] = Misfit(KINDS[kind].unseen)
    return out

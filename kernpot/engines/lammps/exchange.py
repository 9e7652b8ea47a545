"""Forces on ghost atoms go home, and ghosts are told what is known of the atoms they stand for.

Home is the process that owns the atom, or the atom itself among one's own.

LAMMPS sums forces on ghosts before it calls a ``fix external``, so what that adds to them has to be summed here. Who
owns a ghost is found once after every exchange of atoms, through a directory that is spread over all processes: process
``tag mod P`` knows the owner of an atom. After that, every step sends only the forces on ghosts, and only to the
processes that own them: nothing but the list of counts grows with the number of processes, nothing with that of atoms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernpot.errors import KernpotError

Tags = NDArray[np.int64]
FloatArray = NDArray[np.float64]


class GhostForces:
    """Sums forces on ghosts into those on the atoms they stand for.

    Parameters
    ----------
    communicator : mpi4py.MPI.Comm or None
        None in a single process.

    Attributes
    ----------
    n_sent : int
        Forces this process sends at every step.
    partners : int
        To how many processes.
    """

    def __init__(self, communicator: Any) -> None:
        self._world: Any = None if communicator is None or communicator.size == 1 else communicator
        self._tags: Tags = np.empty(0, dtype=np.int64)
        self._n_own = -1
        self.n_sent = self.partners = 0

    def outdated(self, tags: Tags, n_own: int) -> bool:
        """Whether atoms have been exchanged since :meth:`learn`, as far as this process can see."""
        return n_own != self._n_own or not np.array_equal(tags, self._tags)

    def learn(self, tags: Tags, n_own: int) -> None:
        """Find who owns the ghosts; every process at once.

        Parameters
        ----------
        tags : ndarray of shape (n_atoms,)
            Identifiers of the own atoms, then of the ghosts.
        n_own : int
        """
        self._tags, self._n_own = tags.copy(), n_own
        own, ghosts = tags[:n_own], tags[n_own:]
        order = np.argsort(own, kind="stable")
        place = np.searchsorted(own[order], ghosts)
        mine = np.zeros(len(ghosts), dtype=bool)
        inside = place < n_own
        mine[inside] = own[order][place[inside]] == ghosts[inside]
        # Ghosts of own atoms: periodic images in a process that spans the cell.
        self._from_own = n_own + np.flatnonzero(mine)
        self._to_own = order[place[mine]]
        elsewhere = n_own + np.flatnonzero(~mine)
        if self._world is None:
            if len(elsewhere):
                raise KernpotError(
                    f"{len(elsewhere)} ghost atoms stand for atoms that no process owns: the simulation has lost atoms."
                )
            return
        unique, self._column = np.unique(tags[elsewhere], return_inverse=True)
        self._from_elsewhere = elsewhere
        owner, where = self._look_up(own, unique)
        self._sorted = np.argsort(owner, kind="stable")
        self._sent = np.bincount(owner, minlength=self._world.size)
        self._received = _swap(self._world, self._sent)
        self._targets = _exchange(self._world, where[self._sorted], self._sent, self._received)
        self.n_sent, self.partners = len(unique), int((self._sent > 0).sum())

    def add(self, forces: FloatArray) -> FloatArray:
        """Rows of the own atoms (n_own, c) from those of own atoms and ghosts (n_atoms, c); every process at once."""
        total = forces[: self._n_own].copy()
        np.add.at(total, self._to_own, forces[self._from_own])
        if self._world is None:
            return total
        outgoing = np.zeros((self.n_sent, forces.shape[1]))
        np.add.at(outgoing, self._column, forces[self._from_elsewhere])
        incoming = self._to_neighbours(np.ascontiguousarray(outgoing[self._sorted]), self._sent, self._received)
        np.add.at(total, self._targets, incoming)
        return total

    def tell(self, values: FloatArray) -> FloatArray:
        """Rows of own atoms and ghosts (n_atoms, c) from those of the own atoms (n_own, c); every process at once."""
        found = np.empty((len(self._tags), values.shape[1]))
        found[: self._n_own] = values
        found[self._from_own] = values[self._to_own]
        if self._world is None:
            return found
        incoming = self._to_neighbours(np.ascontiguousarray(values[self._targets]), self._received, self._sent)
        unique = np.empty_like(incoming)
        unique[self._sorted] = incoming
        found[self._from_elsewhere] = unique[self._column]
        return found

    def _to_neighbours(self, values: FloatArray, sent: Tags, received: Tags) -> FloatArray:
        """Rows to the processes that expect them, and theirs in the order of their ranks."""
        incoming = np.empty((int(received.sum()), values.shape[1]))
        requests = [self._world.Irecv(part, source=rank) for rank, part in _parts(incoming, received)]
        requests += [self._world.Isend(part, dest=rank) for rank, part in _parts(values, sent)]
        for request in requests:
            request.Wait()
        return incoming

    def _look_up(self, own: Tags, wanted: Tags) -> tuple[Tags, Tags]:
        """Owner of every atom wanted, and its place among the owner's atoms."""
        world = self._world
        entries, from_rank = _deal(world, np.stack([own, np.arange(len(own))], axis=1), own % world.size)
        questions, asking = _deal(world, wanted[:, None], wanted % world.size)
        order = np.argsort(entries[:, 0], kind="stable")
        known = entries[order, 0]
        at = np.minimum(np.searchsorted(known, questions[:, 0]), max(len(known) - 1, 0))
        lost = int((known[at] != questions[:, 0]).sum()) if len(known) else len(questions)
        if world.allreduce(lost):
            raise KernpotError("some ghost atoms stand for atoms that no process owns: the simulation has lost atoms.")
        answers = np.stack([from_rank[order][at], entries[order, 1][at]], axis=1)
        # Answers come back in the order of the questions: by directory, then as they were asked.
        found, _ = _deal(world, answers, asking)
        back = np.empty_like(found)
        back[np.argsort(wanted % world.size, kind="stable")] = found
        return back[:, 0], back[:, 1]


def _parts(rows: FloatArray, counts: Tags) -> Iterator[tuple[int, FloatArray]]:
    """Rank and rows of every process that there are rows for."""
    last = np.cumsum(counts)
    return ((int(r), rows[last[r] - counts[r] : last[r]]) for r in np.flatnonzero(counts))


def _deal(world: Any, rows: Tags, ranks: Tags) -> tuple[Tags, Tags]:
    """Rows of integers to the processes named, and what came with where it came from."""
    order = np.argsort(ranks, kind="stable")
    sent = np.bincount(ranks, minlength=world.size)
    received = _swap(world, sent)
    width = rows.shape[1]
    flat = _exchange(world, rows[order].ravel(), sent * width, received * width)
    return flat.reshape(-1, width), np.repeat(np.arange(world.size), received)


def _swap(world: Any, counts: Tags) -> Tags:
    """How many come from each process, from how many go to each."""
    received = np.empty(world.size, dtype=np.int64)
    world.Alltoall(np.ascontiguousarray(counts, dtype=np.int64), received)
    return received


def _exchange(world: Any, values: Tags, sent: Tags, received: Tags) -> Tags:
    incoming = np.empty(int(received.sum()), dtype=np.int64)
    world.Alltoallv([np.ascontiguousarray(values, dtype=np.int64), sent], [incoming, received])
    return incoming

"""An oracle that is somebody else's queue: inputs go into a folder, results are picked up from there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from kernpot.dynamics.oracles.describe import describe_factory, json_ready, versions
from kernpot.dynamics.oracles.folders import Writer, folder_name, write_folder
from kernpot.dynamics.oracles.labels import Labels, prepared
from kernpot.dynamics.oracles.results import SETTLED_SECONDS, Reader, ResultFile
from kernpot.errors import OracleFailure, OraclePending, ParameterError
from kernpot.parameters import is_real


class FileOracle:
    """Write one sub-folder per frame, wait for results in it, or come back for them later.

    A sub-folder is named by its formula and a hash of its elements, positions, cell and pbc, so a frame that was asked
    before is found again and never written twice. It appears with everything in it: ``frame.xyz``, the files of
    `template`, and what `write` writes. Whoever computes it puts the result file there, with the atoms in the same
    order and in ASE's units for formats that do not know their own; nothing is converted. A file ``failed`` gives the
    frame up; its text is the reason. A result is taken when it can be read, holds energy and forces, and has not
    changed for some seconds, or when a file ``done`` says that it is whole.

    Parameters
    ----------
    folder : str or Path
        Made if it does not exist.
    write : callable or mapping, optional
        ``write(folder, atoms)``, or arguments for ``ase.io.write`` by file name, such as
        ``{"espresso.pwi": {"format": "espresso-in", "input_data": {...}}}``.
    template : str or Path, optional
        Folder whose contents (job script, pseudopotentials, fixed inputs) are copied into every sub-folder.
    read : str or callable
        Name of the result file, read by ``ase.io.read``, or ``read(folder)`` that gives an ``ase.Atoms`` with results,
        None while there are none.
    read_format : str, optional
        ASE's name of the result file's format; by default it guesses.
    wait : bool or float
        How long to wait for results: for ever, not at all, or so many seconds. What is not there then is pending.
    poll : float
        Seconds between looks.

    Raises
    ------
    ValueError
        Negative times, or a result file that `write` or `template` would write.
    OracleError
        From `answers`: a folder that cannot be written to, a full disk, a `write` that fails.
    OraclePending
        From `answers`: results are missing and the time to wait has passed. Ask again with the same frames.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        write: Writer | Mapping[str, Mapping[str, Any]] | None = None,
        template: str | Path | None = None,
        read: str | Reader = "results.xyz",
        read_format: str | None = None,
        wait: bool | float = True,
        poll: float = 10.0,
    ) -> None:
        if not (is_real(poll) and poll > 0) or not (isinstance(wait, bool) or is_real(wait, 0)):
            raise ParameterError(
                f"expected a positive poll and a wait that is not negative, got poll={poll}, wait={wait}."
            )
        if template is not None and not Path(template).is_dir():
            raise ParameterError(f"template: expected a folder, but {template} is not one.")
        taken = {"frame.xyz", *(write if isinstance(write, Mapping) else ())}
        if isinstance(read, str) and (read in taken or (template is not None and (Path(template) / read).exists())):
            raise ParameterError(f"read: {read!r} is also an input; name the file that the result will be in.")
        self.folder = Path(folder)
        self.write = write
        self.template = None if template is None else Path(template)
        self.read = read
        self.read_format = read_format
        self.wait = wait
        self.poll = poll

    def answers(self, frames: Sequence[Atoms]) -> Iterator[tuple[int, Labels | OracleFailure]]:
        """See `Oracle.answers`. All inputs are written before the first result is looked for."""
        asked: dict[str, list[int]] = {}
        results: dict[str, ResultFile] = {}
        for index, frame in enumerate([prepared(atoms) for atoms in frames]):
            if isinstance(frame, OracleFailure):
                yield index, frame
                continue
            name = folder_name(frame)
            asked.setdefault(name, []).append(index)
            write_folder(self.folder, name, frame, self.write, self.template)
            results[name] = ResultFile(self.folder / name, frame, self.read, self.read_format)
        give_up = time.monotonic() + self.wait if self.wait is not True else float("inf")
        while results:
            for name, result in list(results.items()):
                answer = result.look()
                if answer is not None:
                    del results[name]
                    for index in asked[name]:
                        yield index, answer
            self._pause(results, give_up)

    def describe(self) -> dict[str, Any]:
        """See `Oracle.describe`."""
        return {
            "oracle": type(self).__name__,
            "write": _described(self.write),
            "template": None if self.template is None else sorted(path.name for path in self.template.iterdir()),
            "read": _described(self.read),
            "read_format": self.read_format,
            "versions": versions("ase"),
        }

    def _pause(self, results: Mapping[str, ResultFile], give_up: float) -> None:
        if not results:
            return
        # a result that may be whole is worth the seconds that show it
        unsettled = any(result.unsettled for result in results.values())
        left = give_up - time.monotonic() + (SETTLED_SECONDS + 1.0 if unsettled else 0.0)
        if left <= 0:
            raise OraclePending(_pending_message(self.folder, results))
        time.sleep(min(self.poll, left, 0.2 * SETTLED_SECONDS if unsettled else left))


def _described(how: Callable[..., Any] | Mapping[str, Any] | str | None) -> Any:
    return describe_factory(how)["calculator"] if callable(how) else json_ready(how)


def _pending_message(folder: Path, results: Mapping[str, ResultFile]) -> str:
    first, result = next(iter(results.items()))
    troubled = [f"{name}: {entry.trouble}" for name, entry in results.items() if entry.trouble]
    return (
        f"{len(results)} of the frames in {folder} have no results yet, the first is {first}. Compute them (each folder"
        f" holds frame.xyz; {result.expected}; to give one up, write the reason into a file called failed) and run"
        " again."
        + (f" {len(troubled)} results cannot be used as they are: {'; '.join(troubled[:3])}." if troubled else "")
    )

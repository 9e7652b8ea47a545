"""The fitted models that speed is measured with, kept in a folder for a whole run.

python -m benchmarks.speed.models SYSTEM OUT.kernpot [TRAIN.xyz]     # one kernpot fit, in a process of its own
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

from benchmarks.shared import smoke
from benchmarks.shared.datasets import DATASETS, species_of
from benchmarks.shared.systems import SYSTEMS
from benchmarks.shared.timing import python, run_process
from benchmarks.speed.peers import gap_command
from kernpot import SparseGPPotential, load, read_structures


class Models:
    """Fitted models in a folder; what is not there yet is fitted, in a process of its own.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fit_kernpot(self, name: str) -> dict[str, float]:
        """Fit kernpot; time and memory of the process."""
        return run_process(self.command(name, self._kernpot(name)))

    @staticmethod
    def command(name: str, *files: Path) -> list[str]:
        """Command that fits kernpot, see the top of this module."""
        return python("benchmarks.speed.models", name, *files)

    def fit_gap(self, name: str) -> dict[str, float]:
        """Run gap_fit; its time and memory."""
        return run_process(gap_command(name, self.folder))

    def kernpot(self, name: str) -> SparseGPPotential:
        """The fitted kernpot model of a system."""
        if not self._kernpot(name).exists():
            self.fit_kernpot(name)
        model = load(self._kernpot(name))
        assert isinstance(model, SparseGPPotential)
        return model

    def gap(self, name: str) -> Any:
        """The calculator of quippy with the GAP of a system."""
        from quippy.potential import Potential

        path = self.folder / f"{name}.gap.xml"
        if not path.exists():
            self.fit_gap(name)
        return Potential(param_filename=str(path))

    def _kernpot(self, name: str) -> Path:
        return self.folder / f"{name}.kernpot"


def main(name: str, path: str, train: str | None = None) -> None:
    """Fit kernpot with the setting of a system, to its training part or to the structures of a file."""
    frames = DATASETS[name].train() if train is None else read_structures(train)
    SYSTEMS[name].setting(name).estimator(species_of(frames)).fit(frames).save(path)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*smoke.taken(sys.argv[1:]))

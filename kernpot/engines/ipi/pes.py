"""What i-PI loads by its path: ``<pes>custom</pes><pes_path>.../pes.py</pes_path>``."""

from __future__ import annotations

from typing import Any

import numpy as np
from ipi.pes.dummy import Dummy_driver

from kernpot.engines.ipi.evaluation import Evaluation

__DRIVER_NAME__ = "kernpot"
__DRIVER_CLASS__ = "KernpotDriver"


class KernpotDriver(Dummy_driver):
    """i-PI's driver around :class:`kernpot.engines.ipi.Evaluation`; its ``<parameters>`` are those of `of_files`."""

    def __init__(
        self,
        model: str,
        template: str,
        committee: Any = 0,
        committee_forces: Any = False,
        random_state: Any = 0,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        # i-PI hands numbers and truth values over as they are written.
        forces = str(committee_forces).strip().lower() in ("true", "1", "yes")
        self._evaluation = Evaluation.of_files(model, template, int(committee), forces, int(random_state))
        super().__init__(*args, **kwargs)

    def compute(self, cell: Any, pos: Any) -> Any:
        """Energy, forces, virial and extras in atomic units, of one structure or of a list of them."""
        several = isinstance(cell, list)
        cells, positions = (cell, pos) if several else ([cell], [pos])
        found = self._evaluation([np.asarray(c) for c in cells], [np.asarray(x) for x in positions])
        # i-PI changes what it is given
        answers = [[f.energy, f.forces, f.virial, f.extras] for f in found]
        return answers if several else answers[0]

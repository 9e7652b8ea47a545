"""i-PI: path integrals, replica exchange and much else, with kernpot's forces and a committee of its draws.

i-PI loads :data:`PES` from its path, in its own process (``ffdirect``) or in a client at a socket
(:func:`run_client`, ``kernpot ipi``).
"""

from pathlib import Path

from kernpot.engines.ipi.client import run_client
from kernpot.engines.ipi.committee import bead_average, read_extras
from kernpot.engines.ipi.evaluation import Evaluation

PES = str(Path(__file__).with_name("pes.py"))
"""File with the potential-energy surface, for i-PI's ``<pes_path>``."""

__all__ = ["PES", "Evaluation", "bead_average", "read_extras", "run_client"]

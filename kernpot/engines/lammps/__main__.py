"""One MPI rank of :func:`kernpot.engines.lammps.run_script`."""

import json
import sys

from kernpot.engines.lammps.launch import run_rank

run_rank(json.loads(sys.argv[1]))

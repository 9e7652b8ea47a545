"""How fast kernpot is, beside GAP (and FLARE where it is installed): one command for the whole table.

    python benchmarks/speed.py                       # everything, in this order
    python benchmarks/speed.py mean std              # some parts, anew
    python benchmarks/speed.py --models DIR mean     # keeps the fitted models in DIR, or takes them from there

Each part runs in a process of its own on one thread and replaces its entry in results/speed.json, with the machine it
ran on; report.py turns them into tables. CPU time is measured, and where codes are compared they take turns: ratios
are formed within a repetition and given with their range. Only `threads` measures wall time: run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import RESULTS
from fitting import fits, memory
from machine import describe
from models import Models
from predicting import device, means, second_core, sizes, stds
from stages import roofline
from timing import python, thread_limits

PARTS: dict[str, Callable[[Models, int], dict[str, Any]]] = {
    "fit": fits,
    "mean": means,
    "std": stds,
    "size": sizes,
    "threads": second_core,
    "memory": memory,
    "stages": roofline,
    "device": device,
}


def measure(part: str, folder: Path, repetitions: int) -> None:
    """One part, in this process."""
    torch.set_num_threads(1)
    before = describe()
    start = time.perf_counter()
    found = PARTS[part](Models(folder), repetitions)
    if "skipped" in found:
        print(f"{part}: skipped, {found['skipped']}")
    path = RESULTS / "speed.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    machine = before | {"load_average_after": describe()["load_average"], "took_s": time.perf_counter() - start}
    stored[part] = found | {"machine": machine}
    ordered = {name: stored[name] for name in PARTS if name in stored}
    path.write_text(json.dumps(ordered, indent=1) + "\n")


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all when none is named")
    parser.add_argument("--models", type=Path, help="folder that keeps the fitted models; a temporary one otherwise")
    parser.add_argument("--repetitions", type=int, default=7)
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; expected some of {', '.join(PARTS)}")
    if len(arguments.parts) == 1 and arguments.models is not None:
        arguments.models.mkdir(parents=True, exist_ok=True)
        measure(arguments.parts[0], arguments.models, arguments.repetitions)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.models or Path(temporary)
        for part in arguments.parts or PARTS:
            print(f"== {part}", flush=True)
            options = ["--models", folder, "--repetitions", arguments.repetitions]
            environment = os.environ | thread_limits(2 if part == "threads" else 1)
            subprocess.run(python(Path(__file__), part, *options), env=environment, check=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())

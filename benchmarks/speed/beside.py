"""How fast kernpot is, beside GAP (and FLARE where it is installed): one command for the whole table.

    python -m benchmarks speed all                       # everything, in this order
    python -m benchmarks speed mean                      # one part, anew
    python -m benchmarks speed all --models DIR mean     # keeps the fitted models in DIR, or takes them from there

Each part runs in a process of its own on one thread and replaces its entry in results/speed.json, with the machine it
ran on; report.py turns them into tables. CPU time is measured, and where codes are compared they take turns: ratios
are formed within a repetition and given with their range. Only `threads` measures wall time: run it on an idle machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.shared.command_line import Parser, known_ones
from benchmarks.shared.machine import describe
from benchmarks.shared.results import ROOT, result_path
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import python, thread_limits
from benchmarks.speed.fitting import fits, memory
from benchmarks.speed.models import Models
from benchmarks.speed.predicting import device, means, second_core, sizes, stds
from benchmarks.speed.stages import roofline

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
SMOKE = Smoke(arguments=("--models", "{folder}/models", "--repetitions", "2"))


def measure(part: str, folder: Path, repetitions: int) -> None:
    """One part, in this process."""
    torch.set_num_threads(1)
    before = describe()
    start = time.perf_counter()
    found = PARTS[part](Models(folder), repetitions)
    if "skipped" in found:
        print(f"{part}: skipped, {found['skipped']}")
    path = result_path("speed/speed")
    stored = json.loads(path.read_text()) if path.exists() else {}
    machine = before | {"load_average_after": describe()["load_average"], "took_s": time.perf_counter() - start}
    stored[part] = found | {"machine": machine}
    ordered = {name: stored[name] for name in PARTS if name in stored}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(ordered, indent=1) + "\n")


def main(arguments: Sequence[str]) -> None:
    """Run the parts that are asked for, each in a process of its own."""
    parser = Parser("speed all", __doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all when none is named")
    parser.add_argument("--models", type=Path, help="folder that keeps the fitted models; a temporary one otherwise")
    parser.add_argument("--repetitions", type=int, default=7)
    options = parser.parse_args(arguments)
    known_ones(PARTS, options.parts)
    if options.models is not None:
        options.models = options.models.resolve()
        options.models.mkdir(parents=True, exist_ok=True)
        if len(options.parts) == 1:
            measure(options.parts[0], options.models, options.repetitions)
            return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.models or Path(temporary)
        for part in options.parts or PARTS:
            print(f"== {part}", flush=True)
            command = python("benchmarks", "speed", part, "--models", folder, "--repetitions", options.repetitions)
            environment = os.environ | thread_limits(2 if part == "threads" else 1)
            if done := subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
                raise SystemExit(done)

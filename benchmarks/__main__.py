"""Run a benchmark.

    python -m benchmarks                         # subjects, and what is measured in each
    python -m benchmarks SUBJECT                 # what is measured in one
    python -m benchmarks SUBJECT NAME [ARGS]     # measure; --help after NAME tells its arguments
    python -m benchmarks report [--check]        # results into the texts, or whether the texts say what was measured

Run from the folder that holds ``benchmarks/``, with one thread (``OMP_NUM_THREADS=1``) unless the benchmark says else.
``--smoke FOLDER`` after NAME runs it at a size of seconds and stores into FOLDER.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module

from benchmarks.shared import smoke
from benchmarks.shared.command_line import stop
from benchmarks.shared.registry import SUBJECTS, about, measurements, module_of


def listing(subject: str) -> str:
    """A subject and its measurements."""
    rows = [f"  {name:20s} {measurement.about}" for name, measurement in measurements(subject).items()]
    return "\n".join([f"{subject}: {about(subject)}", *rows])


def run(subject: str, name: str, arguments: list[str]) -> None:
    """Measure.

    Raises
    ------
    SystemExit
        A package that the benchmark needs is not installed.
    """
    measurement = measurements(subject)[name]
    arguments = smoke.taken(arguments)
    warnings.simplefilter("ignore")
    try:
        module = import_module(module_of(subject, name))
    except ModuleNotFoundError as missing:
        stop(f"{subject} {name} needs the package {missing.name}, which is not installed; see benchmarks/README.md")
    module.main([*measurement.arguments, *smoke.applied(module, arguments)])


def main(arguments: list[str]) -> int:
    """List, report, or run."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print((__doc__ or "").strip(), *map(listing, SUBJECTS), sep="\n\n")
        return 0
    subject, *rest = arguments
    if subject == "report":
        from benchmarks.report import main as report

        return report(rest)
    if subject not in SUBJECTS:
        stop(f"expected one of {', '.join(SUBJECTS)} or report, got {subject}")
    if not rest or rest[0] in ("-h", "--help"):
        print(listing(subject))
        return 0
    if rest[0] not in measurements(subject):
        stop(f"expected one of {', '.join(measurements(subject))} after {subject}, got {rest[0]}")
    run(subject, rest[0], rest[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

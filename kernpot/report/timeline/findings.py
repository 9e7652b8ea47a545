"""What a run says about its potential, in sentences; few audited frames are described but not judged."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from kernpot.report.findings import MIN_STRUCTURES, Finding
from kernpot.report.timeline.events import Record, Timeline, column
from kernpot.uncertainty.evaluation import ALL
from kernpot.uncertainty.sampling_error import share_range

_SLOWED = 0.5
_OFF = 0.05
_OFTEN = 0.1


def timeline_findings(run: Timeline) -> list[Finding]:
    """Sentences on the error bars, on what a look would have let pass, on the gate, and on whether learning is done."""
    found = [_coverage(run), _missed(run), _doubtful(run), _alarms(run), _slowing(run), _failures(run)]
    return [finding for finding in found if finding is not None]


def shares_of(records: list[Record]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Components inside 90 % intervals and all components of each frame; frames count once where these are unknown."""
    sizes = np.array([r.get("n_components") or 1 for r in records], dtype=np.float64)
    return column(records, "inside_90") * sizes, sizes


def _finding(verdict: Literal["good", "warning", "note"], text: str) -> Finding:
    return Finding(verdict, text, ALL)


def _coverage(run: Timeline) -> Finding:
    """Whether the error bars are honest, on frames that were never learnt."""
    audited = [r for r in run.judged("audit") if r.get("inside_90") is not None]
    if not audited:
        return _finding("note", "No frame was audited yet: nothing tells whether the error bars are right.")
    hits, sizes = shares_of(audited)
    share, frames = hits.sum() / sizes.sum(), _frames(len(audited))
    held = f"90 % intervals held {100 * share:.0f} % of the force components of {frames} that were never learnt"
    if len(audited) < MIN_STRUCTURES:
        return _finding("note", f"Error bars: {held}; too few frames to tell.")
    low, high = share_range(hits, sizes)
    held += f" ({100 * low:.0f} to {100 * high:.0f} % within sampling error)"
    if high < 0.9 and share < 0.9 - _OFF:
        return _finding("warning", f"Error bars are too small: {held}.")
    if low > 0.9 and share > 0.9 + _OFF:
        return _finding("note", f"Error bars are cautious: {held}.")
    how = "consistent with the errors" if low <= 0.9 <= high else "nearly right"
    return _finding("good", f"Error bars are {how}: {held}.")


def _missed(run: Timeline) -> Finding | None:
    """Large errors that a look of the gate would have let pass.

    In an event, ``"flagged"`` says that the largest std was above the threshold, not that the gate fired: audited steps
    lie between its looks, and where it is lenient, too.
    """
    audited = run.judged("audit")
    if not audited or run.tolerance is None:
        return None
    large = [r for r in audited if r["max_force_error"] > run.tolerance]
    missed = [r for r in large if not r["flagged"]]
    named = "the tolerance" if run.tolerance_given else "three times the threshold"
    limit_text = f"{run.tolerance:.2g} eV/Å ({named})"
    # Clopper and Pearson, Biometrika 26, 404 (1934): one-sided limit of a share at 95 % confidence.
    n = len(audited)
    limit = float(beta.ppf(0.95, len(missed) + 1, n - len(missed))) if len(missed) < n else 1.0
    limited = f"at 95 % confidence fewer than {100 * limit:.2g} % of the frames of this run are such"
    if missed:
        worst = max(missed, key=lambda r: r["max_force_error"])
        return _finding(
            "warning",
            f"Undetected failures: {len(missed)} of {_frames(n, 'audited ')} had a force error above {limit_text} "
            "and no std above the threshold, so that a look of the gate would have let them pass; the worst, step "
            f"{worst['step']}, is wrong by {worst['max_force_error']:.2g} eV/Å at a std of "
            f"{worst['max_force_std']:.2g} eV/Å. {limited.capitalize()}.",
        )
    seen = f"; {len(large)} had one, with a std above the threshold" if large else ""
    return _finding(
        "good" if n >= MIN_STRUCTURES else "note",
        f"No undetected failure: none of {_frames(n, 'audited ')} had a force error above {limit_text} "
        f"without a std above the threshold{seen}; {limited}.",
    )


def _doubtful(run: Timeline) -> Finding | None:
    """How often the simulation was where the gate would have stopped it, had it looked."""
    audited = run.judged("audit")
    if not audited or run.threshold is None:
        return None
    n, late = len(audited), audited[len(audited) // 2 :]
    above, above_late = (sum(r["flagged"] for r in records) for records in (audited, late))
    had = f"{above} of {_frames(n, 'audited ')} ({100 * above / n:.0f} %) had a std above the threshold"
    if above <= _OFTEN * n or n < MIN_STRUCTURES:
        return _finding("note", f"{had}{'; too few frames to tell' if n < MIN_STRUCTURES else ''}.")
    if above_late <= _OFTEN * len(late):
        few = f"only {above_late}" if above_late else "none"
        return _finding("note", f"{had}, but {few} of the last {len(late)}: learning has helped.")
    raised = "tolerance.max_force_error" if run.tolerance_given else "force_std"
    return _finding(
        "warning",
        f"{had}: the potential has not learnt enough for this threshold. Simulate longer, or raise {raised}, and "
        "expect `kernpot md` with this threshold to stop early.",
    )


def _alarms(run: Timeline) -> Finding | None:
    """What the gate asked for, and how wrong the potential was there."""
    asked = run.judged("query")
    if not asked:
        return None
    error = column(asked, "max_force_error")
    ratio = error / column(asked, "max_force_std")
    return _finding(
        "note",
        f"The gate stopped the simulation {_times(len(run.gates))}; {len(asked)} labels came of it, whose largest "
        f"force error was {np.median(error):.2g} eV/Å (median), {np.median(ratio):.2g} times the largest std.",
    )


def _slowing(run: Timeline) -> Finding | None:
    """Whether it still learns: gate events in the halves of the simulated time."""
    if not run.steps or run.simulated_fs <= 0 or not run.gates:
        return None
    half = 0.5 * run.simulated_fs / len(run.walkers)
    late = sum(r["time_fs"] > half for r in run.gates)
    early, last = len(run.gates) - late, max(r["time_fs"] for r in run.gates) / 1000
    then = _times(late) if early and late else _fired(late)
    counts = f"the gate {_fired(early)} in the first half of the simulated time and {then} in the second"
    if late < _SLOWED * early:
        return _finding("good", f"Learning slows down: {counts}; the last time was at {last:.3g} ps.")
    return _finding("note", f"Learning goes on: {counts}; a longer run, or more walkers, would still teach something.")


def _failures(run: Timeline) -> Finding | None:
    n = sum(r["purpose"] != "dynamics" for r in run.failed)
    asked, broken = n + len(run.labels), len(run.failed) - n
    parts = []
    if n:
        parts.append(f"the oracle failed on {n} of {asked} frames; they are in set_aside.xyz with the reasons")
    if broken:
        parts.append(f"the dynamics itself broke down {_times(broken)} and was restarted")
    if not parts:
        return None
    text = "; ".join(parts)
    return _finding("warning" if n > 0.1 * asked or broken else "note", f"{text[0].upper()}{text[1:]} (table below).")


def _frames(n: int, kind: str = "") -> str:
    return f"{n} {kind}{'frame' if n == 1 else 'frames'}"


def _fired(n: int) -> str:
    return f"fired {_times(n)}" if n else "did not fire"


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n} times")

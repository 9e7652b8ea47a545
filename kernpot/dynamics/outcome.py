"""How a run of on-the-fly learning ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    reason : {"finished", "max_labels", "unsettled", "interrupted", "waiting", "oracle", "threshold"}
        Finished is a run whose model holds (:meth:`kernpot.dynamics.OnTheFlyLearner.run`); an unsettled one has made
        all steps, but its gate still stops the model.
    message : str
        In words, with what to do next; where all steps or labels are made, for how long the model holds.
    labels, audited, failed : int
        Structures learnt, labelled for the audit only, and set aside.
    model : Path
        The model file.
    """

    reason: str
    message: str
    labels: int
    audited: int
    failed: int
    model: Path


class Stop(Exception):
    """The run ends here.

    Attributes
    ----------
    reason, message : str
        As those of `Outcome`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


INTERRUPTED = "interrupted", "stopped on request; run it again to go on."

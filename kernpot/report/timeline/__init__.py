"""What happened in an on-the-fly run, as a page: made from the run directory's files, also while it still runs."""

from __future__ import annotations

from kernpot.report.timeline.events import Timeline, read_timeline
from kernpot.report.timeline.findings import timeline_findings
from kernpot.report.timeline.page import write_timeline

__all__ = ["Timeline", "read_timeline", "timeline_findings", "write_timeline"]

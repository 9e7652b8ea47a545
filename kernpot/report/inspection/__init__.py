"""What labelled structures hold, before anything is learnt from them: facts, findings, plots, a page."""

from __future__ import annotations

from kernpot.report.inspection.facts import Inspection, inspect_structures
from kernpot.report.inspection.findings import inspection_findings
from kernpot.report.inspection.page import write_inspection

__all__ = ["Inspection", "inspect_structures", "inspection_findings", "write_inspection"]

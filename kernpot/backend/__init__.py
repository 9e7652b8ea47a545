"""What every estimator does in one way: answers, requirements, selection, summary."""

from kernpot.backend.baseline import OnTop
from kernpot.backend.selection import Selection

__all__ = ["OnTop", "Selection"]

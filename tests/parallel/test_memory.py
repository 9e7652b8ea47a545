"""Work that cannot be done for lack of memory is refused before it is begun."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernpot.errors import MemoryLimitError
from kernpot.parallel import memory


def test_the_smallest_of_all_limits_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, left in (("_of_machine", 8 * 10**9), ("_of_control_group", 3 * 10**9), ("_of_process", None)):
        monkeypatch.setattr(memory, name, lambda left=left: left)
    assert memory.available() == 3 * 10**9
    memory.require_memory(2.9e9, "this", "Take less.")
    with pytest.raises(MemoryLimitError, match=r"this needs about 3.1 GB of memory, 3 GB are available. Take less."):
        memory.require_memory(3.1e9, "this", "Take less.")
    with pytest.raises(MemoryLimitError, match=r"about 1e\+10 TB"):
        memory.require_memory(1e22, "this", "Take less.")


def test_something_is_available_here() -> None:
    found = memory.available()
    assert found is None or 10**7 < found < 10**14


@pytest.mark.parametrize("version", [1, 2])
def test_what_a_control_group_leaves(tmp_path: Path, version: int) -> None:
    """Its limit less what is in use, but for files in memory; the tightest group around counts."""
    names = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
             2: ("memory.max", "memory.current", "inactive_file")}[version]  # fmt: skip
    top = tmp_path if version == 2 else tmp_path / "memory"
    for place, limit in (("job", "5000"), ("job/step", "max" if version == 2 else "9223372036854771712")):
        (top / place).mkdir(parents=True)
        (top / place / names[0]).write_text(limit)
        (top / place / names[1]).write_text("2000")
        (top / place / "memory.stat").write_text(f"other 7\n{names[2]} 500\n")
    own = tmp_path / "own"
    own.write_text("0::/job/step\n" if version == 2 else "4:memory:/job/step\n3:cpu:/\n")
    assert memory._of_control_group(tmp_path, own) == 3500
    assert memory._of_control_group(tmp_path, tmp_path / "none") is None

"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Make every warning of ours a fault unless a test expects it.

    pyproject.toml would import kernpot before the measurement of coverage begins.
    """
    config.addinivalue_line("filterwarnings", "error::kernpot.errors.KernpotWarning")
    # Small sets of alloys and molecules, as most tests have, hold none; tests/structures/test_reference.py is about it.
    config.addinivalue_line("filterwarnings", "ignore:there are no isolated atoms:kernpot.errors.KernpotWarning")
    # Labels made up for tests are often zero; tests/structures/test_known.py is about it.
    zeros = "ignore:.* of .* structures have atoms whose forces are exactly zero:kernpot.errors.KernpotWarning"
    config.addinivalue_line("filterwarnings", zeros)
    zeros = "ignore:the stress of .* of .* structures .* is exactly zero:kernpot.errors.KernpotWarning"
    config.addinivalue_line("filterwarnings", zeros)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the published data sets; tests that use it are skipped where it is absent."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"the published data sets are not part of the repository and not found at {path}")
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    """The same stream of random numbers for every test."""
    return np.random.default_rng(20240607)

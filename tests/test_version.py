"""One version, written in kernpot/__init__.py, and nowhere contradicted."""

import re
from importlib.metadata import version
from pathlib import Path

import yaml

import kernpot

ROOT = Path(__file__).resolve().parent.parent


def test_what_is_installed_has_the_version():
    assert version("kernpot") == kernpot.__version__


def test_a_citation_names_the_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == kernpot.__version__


def test_the_changelog_ends_at_the_version():
    """What is not released comes first; the newest release, once there is one, is this version."""
    first, *released = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert first == "Unreleased"
    assert released[:1] in ([], [kernpot.__version__])

"""What those meet who join: forms, hooks and pages are there, are well formed, and name what exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
FORMS = ["bug", "feature"]
PAGES = ["CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md"]
# Those of the schema of GitHub's forms that can be answered.
QUESTIONS = {"textarea", "input", "dropdown", "checkboxes"}


def parsed(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_one_that_can_be_shown(name):
    form = parsed(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert {"name", "description", "body"} <= set(form)
    assert all(part["type"] in QUESTIONS and part["attributes"]["label"] for part in form["body"])
    identifiers = [part["id"] for part in form["body"]]
    assert len(set(identifiers)) == len(identifiers)
    assert any(part.get("validations", {}).get("required") for part in form["body"])


def test_the_form_for_bugs_demands_what_kernpot_info_prints():
    body = parsed(".github/ISSUE_TEMPLATE/bug.yml")["body"]
    asked = next(part for part in body if "`kernpot info`" in part["attributes"]["label"])
    assert asked["validations"]["required"]


def test_other_issues_may_be_opened():
    assert parsed(".github/ISSUE_TEMPLATE/config.yml") == {"blank_issues_enabled": True}


def test_hooks_run_what_the_project_installs():
    (repository,) = parsed(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local", "a hook of another repository would be cloned"
    hooks = {hook["id"]: hook for hook in repository["hooks"]}
    assert set(hooks) == {"ruff-check", "ruff-format", "mypy"}
    assert all(hook["language"] == "system" and hook["entry"].startswith(".venv/bin/") for hook in hooks.values())


@pytest.mark.parametrize("name", [*PAGES, ".github/pull_request_template.md"])
def test_make_targets_and_files_that_a_page_names_exist(name):
    text = (ROOT / name).read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text, flags=re.M)) <= targets
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert all((ROOT / link).exists() for link in links), links


def test_the_page_for_contributors_leads_on():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for expected in ("make test", "make lint", "docs/contributing.md", "kernpot info", *PAGES[1:]):
        assert expected in text

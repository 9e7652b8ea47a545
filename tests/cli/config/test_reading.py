"""Settings of `kernpot learn`: what is right is read, and each mistake is one sentence that says where and what."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from kernpot.cli.config.reading import ConfigError, read_config
from kernpot.cli.config.schema import LearnConfig
from kernpot.dynamics.schedule import Stage

GOOD = """\
structures: a.xyz
oracle:
  kind: tblite
dynamics:
  - steps: 100
"""
DOCUMENT = Path(__file__).parents[3] / "docs" / "on-the-fly.md"
TEMPLATE = Path(read_config.__code__.co_filename).with_name("template.yaml")


def read(tmp_path: Path, text: str) -> LearnConfig:
    path = tmp_path / "learn.yaml"
    path.write_text(text)
    return read_config(path)


def test_little_is_needed(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD)
    assert config.structures == ["a.xyz"] and config.dynamics[0].temperature == (300, 300)
    assert config.gate.force_std is None and config.audit is None and config.walkers == 1


def test_what_people_write_for_numbers_is_understood(tmp_path: Path) -> None:
    """YAML 1.1 takes 1e4 for text, and one stage is a list of one."""
    config = read(tmp_path, GOOD.replace("  - steps: 100", "  steps: 1e4\n  temperature: [300, 6e2]\n  timestep: 1"))
    assert config.dynamics[0].steps == 10_000 and config.dynamics[0].temperature == (300, 600)
    assert isinstance(config.dynamics[0].timestep, float)


def test_a_pressure_is_a_number_or_a_ramp_and_may_be_negative(tmp_path: Path) -> None:
    for text, expected in (("-1.5", (-1.5, -1.5)), ("[0, 1e1]", (0.0, 10.0))):
        config = read(tmp_path, GOOD + f"    ensemble: npt\n    pressure: {text}\n")
        assert config.dynamics[0].pressure == expected
        assert Stage(**config.dynamics[0].model_dump()).pressures == expected
    assert read(tmp_path, GOOD).dynamics[0].pressure == (0.0, 0.0)


def test_a_tolerance_asks_for_enough_first_structures(tmp_path: Path) -> None:
    tolerance = "gate: {tolerance: {max_force_error: 0.3}}\n"
    assert read(tmp_path, GOOD + tolerance).bootstrap.number == 12
    config = read(tmp_path, GOOD + tolerance + "bootstrap: {number: , rattle: 0.02}\n")
    assert config.bootstrap.number == 12 and config.bootstrap.rattle == 0.02
    assert read(tmp_path, GOOD + tolerance + "bootstrap: {number: 12}\n").bootstrap.number == 12
    assert read(tmp_path, GOOD + "bootstrap: {number: 2}\n").bootstrap.number == 2


def test_a_key_without_a_value_is_not_given(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD + "potential:\nbootstrap:\n  number:\n  rattle: 0.2\n")
    assert config.potential.n_inducing is None
    assert config.bootstrap.number == 10 and config.bootstrap.rattle == 0.2


def test_the_template_is_valid_and_its_comments_are_the_defaults(tmp_path: Path) -> None:
    text = TEMPLATE.read_text()
    config = read(tmp_path, text)
    bare = dict.fromkeys(("workers", "retries", "patience", "number", "rattle", "strain", "walkers", "record"))
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# ") and ": " in stripped:
            key, _, value = stripped[2:].partition(": ")
            if key in bare:
                bare[key] = yaml.safe_load(value)
    parts = (config.oracle, config.gate, config.bootstrap, config)
    for key, value in bare.items():
        assert value == next(getattr(part, key) for part in parts if hasattr(part, key)), key


@pytest.mark.parametrize("key", ["tolerance: {max_force_error", "npt", "cutoff", "noise", "batch", "bias", "limits"])
def test_what_the_template_offers_behind_a_hash_is_valid(tmp_path: Path, key: str) -> None:
    lines = TEMPLATE.read_text().splitlines()
    at = next(k for k, line in enumerate(lines) if line.strip().startswith("# ") and key in line)
    last = at + 4 if key == "npt" else at + 1
    for k in range(at, last):
        lines[k] = lines[k].replace("# ", "", 1)
    text = "\n".join(lines)
    if "tolerance" in key:
        text = text.replace("  force_std: 0.15", "")
    assert read(tmp_path, text) != read(tmp_path, TEMPLATE.read_text())


@pytest.mark.parametrize("block", re.findall(r"^```yaml\n(.*?)^```", DOCUMENT.read_text(), flags=re.M | re.S))
def test_settings_in_the_documentation_are_valid(tmp_path: Path, block: str) -> None:
    """Each block, together with what it leaves out."""
    read(tmp_path, yaml.safe_dump({**yaml.safe_load(GOOD), **yaml.safe_load(block)}))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps: 100", "steps: many",
         "learn.yaml, line 5: dynamics[1].steps: expected a whole number of steps, 1 or more, "
         "got 'many'."),
        ("steps: 100", "steps: 2.5",
         "line 5: dynamics[1].steps: expected a whole number of steps, 1 or more, got 2.5."),
        ("steps: 100", "steps: 0", "line 5: dynamics[1].steps: expected a whole number of steps, 1 or more, got 0."),
        ("steps: 100", "steps: yes", "expected a whole number of steps, 1 or more, got True."),
        ("steps: 100", "temperature: 300", "line 5: dynamics[1].steps is missing; expected a whole number of steps"),
        ("steps: 100", "stesp: 100",
         "line 5: dynamics[1].stesp: there is no such key. Did you mean steps? Keys here: ensem"),
        ("- steps: 100", "- {steps: 1, ensemble: nvt}", "ensemble: expected nve, langevin or npt, got 'nvt'."),
        ("- steps: 100", "- {steps: 1, timestep: .nan}",
         "timestep: expected a number in fs, above 0 and at most 20, got nan."),
        ("- steps: 100", "- {steps: 1, temperature: [300, hot]}",
         "dynamics[1].temperature: expected a temperature in K, or"),
        ("- steps: 100", "- {steps: 1, temperature: [1, 2, 3]}",
         "or [from, to] for a ramp, not negative, got [1, 2, 3]."),
        ("- steps: 100", "- {steps: 1, temperature: [300, -1]}",
         "dynamics[1].temperature: expected a temperature in K, or [from, to] for a ramp, not negative, got [300, -1]"),
        ("- steps: 100", "- {steps: 1, pressure: [0, high]}",
         "line 5: dynamics[1].pressure: expected a pressure in GPa, or [from, to] for a ramp, got [0, 'high']."),
        ("- steps: 100", "- {steps: 1, pressure: .inf}", "dynamics[1].pressure: expected a pressure in GPa, or [from"),
        ("structures: a.xyz", "structures: a.xyz\nlimits: {max_labels: 1}",
         "line 2: limits.max_labels: expected a whole number of labels, 2 or more, got 1."),
        ("structures: a.xyz",
         "structures: a.xyz\ngate: {tolerance: {max_force_error: 0.3}}\nbootstrap:\n  number: 11",
         "line 4: bootstrap.number: expected 12 structures or more, got 11; the threshold of gate.tolerance follows"),
        ("structures: a.xyz",
         "structures: a.xyz\ngate: {tolerance: {max_force_error: 0.3}}\nlimits:\n  max_labels: 11",
         "line 4: limits.max_labels: expected 12 structures or more, got 11; the threshold of gate.tolerance follows"),
        ("- steps: 100", "- {steps: 1, temperature: -1}", "dynamics[1].temperature: expected a temperature in K"),
        ("- steps: 100", "[]",
         "line 4: dynamics: expected a list of stages, each with keys like ensemble, steps, temperature, "
         "got []."),
        ("- steps: 100", "- 100", "line 5: dynamics[1]: expected a list of stages"),
        ("  kind: tblite", "  timeout: 9", "line 2: oracle.kind is missing; expected tblite, pyscf, espresso, another"),
        ("\n  kind: tblite", " tblite",
         "line 2: oracle: expected a section that says who computes labels; its key kind is "
         "needed, got 'tblite'."),
        ("structures: a.xyz", "structure: a.xyz", "line 1: structure: there is no such key. Did you mean structures?"),
        ("structures: a.xyz", "structures: []", "structures: expected a file with one structure or more"),
        ("structures: a.xyz", "structures: a.xyz\ncutof: 5",
         "line 2: cutof: there is no such key. Did you mean potential.cutoff?"),
        ("structures: a.xyz", "structures: a.xyz\nzeta: 5",
         "line 2: zeta: there is no such key. Keys here: structures, oracle"),
        ("structures: a.xyz", "structures: a.xyz\ngate: {force_std: 1, tolerance: {max_force_error: 1}}",
         "line 2: gate: expected force_std or tolerance, got both; leave one of them out."),
        ("structures: a.xyz", "structures: a.xyz\ngate:\n  tolerance: {missed: 0.1}",
         "line 3: gate.tolerance.max_force_error is missing; expected the largest force error to bear"),
        ("structures: a.xyz", "structures: a.xyz\nstructures: b.xyz",
         "line 2: structures is given twice, first in line 1"),
        ("structures: a.xyz", "structures: &a [*a]", "an alias (*) refers to the part it stands in"),
        ("  kind: tblite", "\tkind: tblite", "learn.yaml, line 3: not YAML"),
        ("  kind: tblite", "  kind: !!python/object/apply:os.getcwd []", "not YAML"),
        (GOOD, "", "learn.yaml: expected keys and values (structures: ..., oracle: ...), got nothing"),
        (GOOD, "- 1", "got list"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, GOOD.replace(old, new))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and "pydantic" not in str(caught.value)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "walkers: 0\n" + GOOD.replace("100", "none") + "bias: -1\n")
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        "learn.yaml, line 1",
        "learn.yaml, line 6",
        "learn.yaml, line 7",
    ]


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file; write one with: kernpot learn .*learn\.yaml --init"):
        read_config(tmp_path / "learn.yaml")


def test_networks_need_more_first_structures_for_a_tolerance(tmp_path: Path) -> None:
    networks = GOOD + "gate: {tolerance: {max_force_error: 0.3}}\npotential: {backend: nnp}\n"
    assert read(tmp_path, networks).bootstrap.number == 48
    with pytest.raises(ConfigError, match=r"expected 48 structures or more, got 12; .* hold out, one in 4"):
        read(tmp_path, networks + "bootstrap: {number: 12}\n")


def test_a_key_of_the_other_backend_is_refused(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD + "potential: {backend: nnp}\n").potential.backend == "nnp"
    with pytest.raises(ConfigError, match="n_inducing belongs to backend: gp"):
        read(tmp_path, GOOD + "potential: {backend: nnp, n_inducing: 50}\n")


@pytest.mark.wrong_input("Files", "settings with aliases of aliases, which would fill any memory", "refused")
def test_aliases_of_aliases_are_refused_at_once(tmp_path: Path) -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{k + 1}: &a{k + 1} [{', '.join([f'*a{k}'] * 10)}]\n" for k in range(12)
    )
    with pytest.raises(ConfigError, match="aliases \\(\\*\\) written out"):
        read(tmp_path, laughs)


@pytest.mark.wrong_input("Files", "settings in another encoding than UTF-8, or that are no file", "refused")
def test_settings_are_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "learn.yaml"
    path.write_bytes("# caf\xe9\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="is no text in UTF-8"):
        read_config(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="is a named pipe"):
        read_config(path)


@pytest.mark.wrong_input("Settings", "a random_state beyond what generators take", "refused")
def test_seeds_are_checked_before_any_label(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="random_state: expected a whole number from 0 to 4294967295"):
        read(tmp_path, GOOD + "random_state: 4294967296\n")

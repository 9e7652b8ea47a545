"""Where an input script is parted, and what it is told to write instead."""

import pytest

from kernpot.engines.lammps.script import split_script
from kernpot.errors import KernpotError

SCRIPT = """units metal
read_data &
   si.data
pair_style   kernpot   # with error bars
# elements follow
pair_coeff * * Si O
run 10
"""


def test_a_script_is_parted_at_its_pair_style():
    found = split_script(SCRIPT, "in.si")
    assert found.elements == ("Si", "O")
    assert found.pair_style == "zero {cutoff}"
    assert found.every == {}
    assert found.before.split("\n")[1].split() == ["read_data", "si.data"]
    assert [line for line in found.after.split("\n") if line] == ["# elements follow", "run 10"]


def test_conditions_of_halts_on_forces_are_found_and_no_others():
    text = SCRIPT.replace("run 10", "fix a all halt 20 v_kernpot_max_force_std > ${limit} error continue\nrun 10")
    assert split_script(text, "in.si").halts == (">${limit}",)
    other = SCRIPT.replace("run 10", "fix a all halt 20 tlimit > 100\nfix b all nve\nrun 10")
    assert split_script(other, "in.si").halts == ()


def test_a_sum_with_styles_of_lammps_keeps_their_coefficients():
    text = "pair_style hybrid/overlay kernpot force_std 20 std 5 zbl 1.0 2.0\n"
    text += "pair_coeff * * zbl 14 14\npair_coeff * * kernpot Si\nrun 1\n"
    found = split_script(text, "in.si")
    assert found.pair_style == "hybrid/overlay zero {cutoff} zbl 1.0 2.0"
    assert found.elements == ("Si",)
    assert found.every == {"force_std": 20, "std": 5}
    assert found.after.split("\n")[:3] == ["pair_coeff * * zbl 14 14", "pair_coeff * * zero", "run 1"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("pair_style lj/cut 3\n", "in.x: expected one line 'pair_style kernpot', got 0"),
        ("# pair_style kernpot\n", "got 0"),
        (SCRIPT + SCRIPT, "got 2"),
        ("pair_style kernpot si.kernpot\npair_coeff * * Si\n", "model file is given by --model"),
        ("pair_style kernpot std\npair_coeff * * Si\n", "number of steps after 'std'.*got nothing"),
        ("pair_style kernpot force_std -3\npair_coeff * * Si\n", "number of steps after 'force_std'.*got -3"),
        ("pair_style hybrid kernpot zbl 1 2\npair_coeff * * kernpot Si\n", "hybrid/overlay"),
        ("pair_style kernpot\nrun 1\n", "element of every atom type.*got 0"),
        ("pair_coeff * * Si\npair_style kernpot\n", "got 0"),
        ("pair_style kernpot\npair_coeff * * Si\npair_coeff * * O\n", "got 2"),
    ],
)
def test_what_is_not_understood_is_refused(text, match):
    with pytest.raises(KernpotError, match=match):
        split_script(text, "in.x")

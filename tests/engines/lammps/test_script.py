"""Where an input script is parted, and what it is told to write instead."""

import pytest

from kernpot.engines.lammps.script import needs_plugin, require_served, split_script, stds_asked, with_included
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


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("fix w all widom 1 20 1 12345 300", "fix widom"),
        ("fix g all gcmc 1 20 0 1 29494 300 0.0 0.1 full_energy", "fix gcmc"),
        ("fix n few numdiff 1 0.001", "fix numdiff"),
        ("fix n all numdiff/virial 1 1e-4", "fix numdiff/virial"),
        ("compute b all born/matrix numdiff 1e-4 v", "compute born/matrix"),
        ("compute g a group/group &\n b", "compute group/group"),
        ("compute f all fep/ta 300 xy 1.001", "compute fep/ta"),
        ("compute h all heat/flux/tally b", "compute heat/flux/tally"),
        ("run_style respa 2 2 pair 1", "run_style respa"),
        ("neigh_modify delay 0 exclude group a b", "neigh_modify exclude"),
    ],
)
def test_what_asks_the_pair_style_is_refused_where_there_is_none(line, told):
    """In scripts as in single commands; the message says what would serve it."""
    for text in (line, SCRIPT.replace("run 10", f"{line}\nrun 10"), f'if "1 == 1" then "{line}" else "run 0"'):
        with pytest.raises(KernpotError, match=f"in.si: {told} asks the pair style, .*kernpot lammps --build"):
            require_served(text, "in.si")


def test_included_files_are_looked_at_as_well(tmp_path):
    (tmp_path / "a").write_text('if "1 == 1" then "include b"\n')
    (tmp_path / "b").write_text("include b\nfix n all numdiff 1 0.001\n")
    with pytest.raises(KernpotError, match="fix numdiff asks"):
        require_served(with_included("run 0\ninclude a\ninclude nowhere\n", tmp_path), "in.si")


def test_what_goes_by_the_forces_is_served():
    served = (
        "fix 1 all nve\nfix s all atom/swap 1 20 4711 3000 types 1 2\ncompute z all pair zbl\ncompute p all pe/atom\n"
    )
    require_served(served + "neigh_modify delay 0 every 1\nrun_style verlet\n", "command")


@pytest.mark.parametrize(("stds", "looks", "fine"), [(20, 20, True), (20, 5, True), (5, 20, True), (20, 7, False)])
def test_a_halt_has_to_look_where_there_are_stds(stds, looks, fine):
    halt = f"fix a all halt {looks} v_kernpot_max_force_std > 0.3 error continue"
    text = SCRIPT.replace("kernpot   #", f"kernpot force_std {stds} #").replace("run 10", f"{halt}\nrun 10")
    if fine:
        assert split_script(text, "in.si").halts == (">0.3",)
    else:
        with pytest.raises(KernpotError, match="looks every 7 steps at stds that are known every 20: write 'fix a all"):
            split_script(text, "in.si")


def test_what_the_plugin_alone_brings_is_seen():
    assert needs_plugin("compute s all kernpot/force_std\n") == "compute kernpot/force_std"
    assert needs_plugin(SCRIPT) is None
    assert stds_asked("pair_style kernpot force_std 20") and stds_asked(
        "pair_style hybrid/overlay kernpot std 5 zbl 1 2"
    )
    assert not stds_asked(SCRIPT)

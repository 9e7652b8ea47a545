"""kernpot in LAMMPS on 1, 2 and 4 ranks: the numbers of the ASE calculator, and what LAMMPS does with them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import fcc111
from ase.io import read
from ase.md.verlet import VelocityVerlet

from tests.engines.alloys import alloy
from tests.engines.lammps.conftest import HEAD, TABLE, Run, in_lammps

# LAMMPS's own factor from eV/A^3 to bar, which has fewer digits than ASE's.
BAR = 1.6021765e6
VOIGT = {"Pxx": 0, "Pyy": 1, "Pzz": 2, "Pyz": 3, "Pxz": 4, "Pxy": 5}


def slab() -> Atoms:
    atoms = fcc111("Cu", (3, 3, 4), vacuum=8.0)
    atoms.numbers[::5] = 79
    atoms.pbc = [True, True, False]
    atoms.rattle(0.08, seed=1)
    return atoms


def droplet() -> Atoms:
    """A cluster at one end of its box: half of two ranks has no atoms at first, and there are no images."""
    atoms = alloy((2, 2, 2))[:20]
    atoms.set_cell([40.0, 30.0, 30.0], scale_atoms=False)
    atoms.positions += 1.0 - atoms.positions.min(axis=0)
    atoms.pbc = False
    return atoms


SYSTEMS = {
    "triclinic alloy": (lambda: alloy((3, 3, 2)), "p p p"),
    "cell smaller than the cutoff": (lambda: alloy((1, 1, 1)), "p p p"),
    "slab": (slab, "p p f"),
    "droplet": (droplet, "f f f"),
}


def require_same(found: np.ndarray, atoms: Atoms, potential) -> None:
    """A dumped frame has the forces, energies and stds of the calculator for its positions, to 1e-9."""
    here = atoms.copy()
    here.positions = found[:, 1:4]
    expected = potential.predict_full([here])[0]
    np.testing.assert_allclose(found[:, 4:7], expected.forces.mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found[:, 7], expected.energies.mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found[:, 8], expected.energies.std, rtol=1e-7)


# Two ranks do everything that one does: one alone is left to the slow tests.
RANKS = [pytest.param(1, marks=pytest.mark.slow), 2]


@pytest.mark.slow
@pytest.mark.parametrize("n_ranks", RANKS)
@pytest.mark.parametrize(
    "name", ["slab", *(pytest.param(name, marks=pytest.mark.slow) for name in SYSTEMS if name != "slab")]
)
def test_the_numbers_of_the_calculator(run, tmp_path, potential, name, n_ranks):
    make, boundary = SYSTEMS[name]
    atoms = in_lammps(make(), tmp_path / "data")
    script = (
        HEAD
        + TABLE
        + (
            "compute pea all pe/atom\ncompute sum all reduce sum c_pea\n"
            "compute st all stress/atom NULL\ncompute stress all reduce sum c_st[*]\n"
            "thermo_style custom step pe pxx pyy pzz pxy pxz pyz c_sum c_stress[*] v_kernpot_max_std vol\n"
            "thermo_modify norm no format float %.15g\nrun 0\n"
        )
    )
    if n_ranks == 2:
        script = script.replace("atom_style atomic\n", "atom_style atomic\nprocessors 2 1 1\n")
    done: Run = run(script, n_ranks, data="data", dump="dump", every=1, boundary=boundary)
    assert done.code == 0, done.output
    require_same(done.frames()[0], atoms, potential)
    here = atoms.copy()
    here.positions = done.frames()[0][:, 1:4]
    expected, row = potential.predict_full([here])[0], done.rows()[0]
    assert row["PotEng"] == pytest.approx(expected.energy.mean, abs=1e-9)
    assert row["c_sum"] == pytest.approx(expected.energy.mean, abs=1e-9)
    assert row["v_kernpot_max_std"] == pytest.approx(expected.energies.std.max(), rel=1e-7)
    if expected.stress is not None:
        pressure = -expected.stress.mean * BAR
        found = np.array([row[k] for k in VOIGT])
        np.testing.assert_allclose(found, pressure[list(VOIGT.values())], rtol=1e-9, atol=1e-3)
        per_atom = np.array([row[f"c_stress[{k}]"] for k in range(1, 7)]) / row["Volume"]
        np.testing.assert_allclose(per_atom, -pressure[[0, 1, 2, 5, 4, 3]], rtol=1e-9, atol=1e-3)


NVE = HEAD + TABLE + "velocity all create 900 4711 loop geom\nfix nve all nve\ntimestep 0.001\nthermo {every}\n"


@pytest.mark.slow
@pytest.mark.parametrize("n_ranks", [1, 2])
def test_nve_conserves_energy_while_atoms_change_hands(run, tmp_path, potential, n_ranks):
    """Hot enough for many new lists; ranks follow the trajectory of ASE on one process."""
    atoms = in_lammps(alloy((3, 3, 3), rattle=0.02), tmp_path / "data")
    done: Run = run(NVE + "neighbor 0.5 bin\nrun 300\n", n_ranks, data="data", dump="dump", every=50, boundary="p p p")
    assert done.code == 0, done.output
    builds = int(done.output.split("Neighbor list builds = ")[1].split()[0])
    assert builds >= 5
    rows, frames = done.rows(), done.frames()
    total = np.array([row["TotEng"] for row in rows.values()])
    kinetic = np.mean([row["KinEng"] for row in rows.values()])
    assert np.ptp(total) < 2e-3 * kinetic
    for step in (0, 300):
        require_same(frames[step], atoms, potential)


@pytest.mark.slow
def test_a_trajectory_is_that_of_ase(run, tmp_path, potential):
    atoms = in_lammps(alloy((2, 2, 2), rattle=0.05), tmp_path / "data")
    script = NVE + "dump_modify frames format float %.16g\ndump v all custom 10 velocities id vx vy vz\n"
    script += "dump_modify v sort id format float %.16g\nrun 20\n"
    done: Run = run(script, 2, data="data", dump="dump", every=10, boundary="p p p")
    assert done.code == 0, done.output
    start, velocities = done.frames()[0], done.frames("velocities")[0]
    atoms.positions = start[:, 1:4]
    atoms.set_velocities(velocities[:, 1:] / (1000 * units.fs))
    atoms.calc = potential.calculator()
    VelocityVerlet(atoms, 1.0 * units.fs).run(20)
    # LAMMPS's constants of metal units have seven digits.
    difference = done.frames()[20][:, 1:4] - atoms.positions
    difference -= np.round(difference @ np.linalg.inv(atoms.cell.array)) @ atoms.cell.array
    assert np.abs(difference).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("n_ranks", [1, 2])
def test_a_restarted_run_goes_on_as_if_nothing_had_happened(run, tmp_path, n_ranks):
    in_lammps(alloy((3, 2, 2), rattle=0.05), tmp_path / "data")
    settings = {"data": "data", "every": 10, "boundary": "p p p", "dump": "whole"}
    whole: Run = run(NVE + "run 20\nwrite_restart half\nrun 20\n", n_ranks, **settings)
    assert whole.code == 0, whole.output
    again = NVE.replace("read_data {data}", "read_restart half").replace("velocity", "# velocity")
    again = again.replace("boundary {boundary}\n", "")
    second: Run = run(again + "run 20\n", n_ranks, **(settings | {"dump": "second"}))
    assert second.code == 0, second.output
    np.testing.assert_allclose(second.frames("second")[40], whole.frames("whole")[40], rtol=0, atol=1e-8)


@pytest.mark.slow
def test_the_gate_halts_at_the_same_step_on_any_number_of_ranks(run, tmp_path):
    """Where the largest std of a hot crystal first passes a threshold is read off a run without a gate."""
    in_lammps(alloy((3, 3, 2), rattle=0.01), tmp_path / "data")
    script, settings = NVE.replace("create 900", "create 2500"), {"data": "data", "every": 1, "boundary": "p p p"}
    free: Run = run(script + "run 30\n", 1, dump="free", **settings)
    assert free.code == 0, free.output
    largest = [frame[:, 8].max() for frame in free.frames("free").values()]
    threshold = 0.5 * (largest[0] + largest[-1])
    expected = int(np.argmax(np.array(largest) > threshold))
    assert 3 < expected < 30
    gate = f"fix stop all halt 1 v_kernpot_max_std > {threshold:.12g} error continue message no\nrun 30\n"
    for n_ranks in (1, 2, 4):
        done: Run = run(script + gate, n_ranks, dump=f"gated{n_ranks}", **settings)
        assert done.code == 0, done.output
        frames = done.frames(f"gated{n_ranks}")
        assert max(frames) == expected
        np.testing.assert_allclose(frames[expected][:, 8].max(), largest[expected], rtol=1e-9)


@pytest.mark.slow
def test_a_halt_leaves_what_led_there_with_elements_and_a_run_to_its_end_nothing(run, tmp_path):
    atoms = in_lammps(alloy((2, 2, 2)), tmp_path / "data")
    script = NVE.replace("kernpot std 1", "kernpot std 1 force_std 2")
    script += (
        "variable limit equal {limit}\nfix stop all halt 2 v_kernpot_max_force_std > ${{limit}} error continue\nrun 6\n"
    )
    settings = {"data": "data", "dump": "dump", "every": 1, "boundary": "p p p"}
    done: Run = run(script, 1, limit=1e6, **settings)
    assert done.code == 0 and not (tmp_path / "in.test_gate.xyz").exists(), done.output
    for n_ranks in (1, 2):
        done = run(script, n_ranks, limit=1e-9, **settings)
        assert done.code == 0 and "next: kernpot label in.test_gate.xyz" in done.output, done.output
        frames = read(tmp_path / "in.test_gate.xyz", ":")
        assert sorted(frames[-1].symbols) == sorted(atoms.symbols)
        assert frames[-1].arrays["kernpot_force_std"].max() > 1e-9 and frames[-1].calc is None


@pytest.mark.slow
def test_stds_may_be_asked_for_rarely(run, tmp_path, potential):
    atoms = in_lammps(alloy((2, 2, 2)), tmp_path / "data")
    script = NVE.replace("kernpot std 1", "kernpot std 4") + "run 9\n"
    done: Run = run(script, 1, data="data", dump="dump", every=1, boundary="p p p")
    frames = done.frames()
    for step in (0, 4, 8):
        require_same(frames[step], atoms, potential)
    assert np.isnan(frames[5][:, 8]).all(), "in between they are not known"


@pytest.mark.slow
def test_frames_that_are_read_again_have_stds_of_their_own(run, tmp_path, potential):
    """Whichever steps they are of; and the first step of a run has them, too."""
    atoms = in_lammps(alloy((2, 2, 1)), tmp_path / "data")
    script = HEAD.replace("kernpot std 1", "kernpot force_std 20").replace("pair_style", "reset_timestep 7\npair_style")
    moving = script + "dump d all custom 5 traj id type x y z\nvelocity all create 900 1\nfix 1 all nve\n"
    moving += "thermo_style custom step v_kernpot_max_force_std\nthermo 1\nthermo_modify format float %.15g\nrun 15\n"
    settings = {"data": "data", "boundary": "p p p"}
    first: Run = run(moving, 1, **settings)
    assert first.code == 0, first.output
    assert first.rows()[7]["v_kernpot_max_force_std"] == pytest.approx(potential.force_std(atoms).max(), rel=1e-6)
    assert first.rows()[9]["v_kernpot_max_force_std"] == -1e20
    again = script + "thermo 5\nthermo_style custom step v_kernpot_max_force_std\nthermo_modify format float %.15g\n"
    done: Run = run(again + "rerun traj dump x y z\n", 2, **settings)
    assert done.code == 0, done.output
    frames = {step: row["v_kernpot_max_force_std"] for step, row in done.rows().items()}
    assert [*frames] == [10, 15, 20]
    for step, frame in zip(frames, read(tmp_path / "traj", ":", format="lammps-dump-text"), strict=True):
        frame.numbers = atoms.numbers
        assert frames[step] == pytest.approx(potential.force_std(frame).max(), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("n_ranks", RANKS)
def test_exact_stds_of_forces(run, tmp_path, potential, n_ranks):
    atoms = in_lammps(alloy((2, 2, 2)), tmp_path / "data")
    script = HEAD + (
        "dump frames all custom 1 {dump} id x y z c_kernpot_force_std\n"
        "dump_modify frames sort id format float %.16g\nfix nve all nve\n"
        "thermo 1\nthermo_style custom step v_kernpot_max_force_std\nthermo_modify format float %.15g\nrun 4\n"
    )
    script = script.replace("kernpot std 1", "kernpot force_std 2")
    done: Run = run(script, n_ranks, data="data", dump="dump", boundary="p p p")
    assert done.code == 0, done.output
    frames, rows = done.frames(), done.rows()
    for step in (0, 2, 4):
        atoms.positions = frames[step][:, 1:4]
        expected = potential.predict_full([atoms])[0].forces.std.max(axis=1)
        np.testing.assert_allclose(frames[step][:, 4], expected, rtol=1e-6)
        assert rows[step]["v_kernpot_max_force_std"] == pytest.approx(expected.max(), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("n_ranks", RANKS)
def test_stds_of_forces_by_draws_on_the_atoms_of_each_process(run, tmp_path, potential, n_ranks):
    """From own atoms and ghosts alone; so hot that atoms come closer than any in the fit, and change process."""
    by_draws = copy.copy(potential).set_params(error_bars="draws")
    by_draws.save(tmp_path / "draws.kernpot")
    atoms = in_lammps(alloy((3, 2, 2)), tmp_path / "data")
    script = HEAD + (
        "velocity all create 4000 1\nneigh_modify every 1 delay 0 check yes\n"
        "dump frames all custom 1 {dump} id x y z c_kernpot_force_std\n"
        "dump_modify frames sort id format float %.16g\nfix nve all nve\n"
        "thermo 1\nthermo_style custom step v_kernpot_max_force_std\nthermo_modify format float %.15g\nrun 20\n"
    )
    script = script.replace("kernpot std 1", "kernpot force_std 10")
    done: Run = run(script, n_ranks, model=tmp_path / "draws.kernpot", data="data", dump="dump", boundary="p p p")
    assert done.code == 0, done.output
    frames, rows = done.frames(), done.rows()
    closer = 0
    for step in (0, 10, 20):
        atoms.positions = frames[step][:, 1:4]
        closer += by_draws.closer_pair(atoms) is not None
        expected = by_draws.force_std(atoms).max(axis=1)
        np.testing.assert_allclose(frames[step][:, 4], expected, rtol=2e-4)
        assert rows[step]["v_kernpot_max_force_std"] == pytest.approx(expected.max(), rel=2e-4)
    assert closer


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slab", "droplet", "cell smaller than the cutoff"])
def test_stds_by_draws_where_processes_have_no_atoms_or_no_ghosts(run, tmp_path, potential, name):
    by_draws = copy.copy(potential).set_params(error_bars="draws")
    by_draws.save(tmp_path / "draws.kernpot")
    make, boundary = SYSTEMS[name]
    atoms = in_lammps(make(), tmp_path / "data")
    script = HEAD.replace("kernpot std 1", "kernpot force_std 1") + (
        "dump frames all custom 1 {dump} id x y z c_kernpot_force_std\n"
        "dump_modify frames sort id format float %.16g\nrun 0\n"
    )
    done: Run = run(script, 2, model=tmp_path / "draws.kernpot", data="data", dump="dump", boundary=boundary)
    assert done.code == 0, done.output
    np.testing.assert_allclose(done.frames()[0][:, 4], by_draws.force_std(atoms).max(axis=1), rtol=2e-4)


@pytest.mark.slow
def test_the_sum_with_a_style_of_lammps(run, tmp_path, potential):
    """hybrid/overlay with a short-range repulsion: energies and forces are those of both, each computed alone."""
    atoms = in_lammps(alloy((2, 2, 2)), tmp_path / "data")
    settings = {"data": "data", "every": 1, "boundary": "p p p"}
    zbl = "pair_coeff 1 1 zbl 29 29\npair_coeff 1 2 zbl 29 79\npair_coeff 2 2 zbl 79 79\n"
    both = HEAD.replace("kernpot std 1\n", "hybrid/overlay kernpot std 1 zbl 2.0 3.0\n" + zbl)
    both = both.replace("* * Cu", "* * kernpot Cu") + TABLE + "run 0\n"
    only = both.replace(
        "thermo_style", "fix_modify kernpot energy no virial no\nfix off all setforce 0 0 0\nthermo_style"
    )
    together: Run = run(both, 2, dump="both", **settings)
    alone: Run = run(only, 2, dump="only", **settings)
    assert together.code == alone.code == 0, together.output + alone.output
    expected = potential.predict_full([atoms])[0]
    repulsion = alone.rows()[0]["PotEng"]
    assert repulsion > 0.1
    assert together.rows()[0]["PotEng"] == pytest.approx(expected.energy.mean + repulsion, abs=1e-8)
    here = together.frames("both")[0]
    np.testing.assert_allclose(here[:, 7], expected.energies.mean, rtol=0, atol=1e-9)
    assert np.abs(here[:, 4:7] - expected.forces.mean).max() > 1e-3


@pytest.mark.slow
def test_minimisation_ends_where_ase_ends(run, tmp_path, potential):
    from ase.optimize import BFGS

    atoms = in_lammps(alloy((2, 2, 1)), tmp_path / "data")
    script = HEAD + TABLE + "min_style cg\nmin_modify line quadratic\nminimize 0 1e-5 500 5000\n"
    done: Run = run(script, 2, data="data", dump="dump", every=500, boundary="p p p")
    assert done.code == 0, done.output
    atoms.calc = potential.calculator()
    BFGS(atoms, logfile=None).run(fmax=1e-5, steps=500)
    last = list(done.rows().values())[-1]
    assert last["PotEng"] == pytest.approx(atoms.get_potential_energy(), abs=1e-6)


@pytest.mark.slow
def test_loops_and_variables_of_a_script_work(run, tmp_path):
    in_lammps(alloy((2, 1, 1)), tmp_path / "data")
    script = (
        HEAD + 'fix nve all nve\nvariable k loop 3\nlabel again\nrun 2\nprint "round $k"\nnext k\njump SELF again\n'
    )
    done: Run = run(script.replace("$k", "${{k}}"), 2, data="data", boundary="p p p")
    assert done.code == 0, done.output
    assert "round 3" in done.output
    assert max(done.rows()) == 6


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("* * Cu Au", "* * Cu Zr", "got Zr for atom types"),
        *(
            pytest.param(*change, marks=pytest.mark.slow)
            for change in (
                ("units metal", "units real", "expected 'units metal'"),
                ("* * Cu Au", "* * Cu", "one element for each of LAMMPS's 2 atom types"),
                ("pair_style kernpot std 1", "pair_style lj/cut 3", "expected one line 'pair_style kernpot'"),
                ("read_data {data}", "", "no box yet"),
                ("run 0", "run nonsense", "nonsense"),
            )
        ),
    ],
)
@pytest.mark.slow
def test_what_cannot_run_says_why_and_ends_all_ranks(run, tmp_path, old, new, match):
    in_lammps(alloy((1, 1, 1)), tmp_path / "data")
    script = (HEAD + "run 0\n").replace(old, new)
    if new == "":
        script = script.replace("thermo_modify norm no\nthermo_modify format float %.15g\n", "")
    done: Run = run(script, 2, data="data", boundary="p p p")
    assert done.code != 0
    assert match in done.output
    assert "Traceback" not in done.output

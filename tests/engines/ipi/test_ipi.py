"""kernpot in i-PI: units and signs through i-PI itself, in its process and at a socket, and committees it reweights."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.io import write
from typer.testing import CliRunner

from kernpot import NNPEnsemble, SparseGPPotential
from kernpot.cli.app import app
from kernpot.engines.ipi import PES, Evaluation, bead_average, read_extras, run_client
from kernpot.errors import KernpotError, StructureError
from tests.engines.alloys import alloy, alloy_potential
from tests.helpers.systems import cluster, crystals
from tests.nnp.small import estimator

pytest.importorskip("ipi", reason="needs i-PI: pip install 'kernpot[ipi]'")

INPUT = """<simulation verbosity='low' safe_stride='1000'>
<output prefix='run'>
<properties stride='1' filename='out'>[step, potential{{electronvolt}}, virial_md{{ev/ang3}}]</properties>
<trajectory stride='1' filename='pos'> positions{{angstrom}} </trajectory>
<trajectory stride='1' filename='for'> forces{{ev/ang}} </trajectory>
{committee}
</output>
<total_steps>{steps}</total_steps><prng><seed>7</seed></prng>
{forcefield}
<system><initialize nbeads='{beads}'><file mode='ase'>{start}</file>
<velocities mode='thermal' units='kelvin'>300</velocities></initialize>
<forces><force forcefield='kp'/></forces>
<motion mode='dynamics'><fixcom>True</fixcom><dynamics mode='nvt'><timestep units='femtosecond'>0.5</timestep>
<thermostat mode='pile_g'><tau units='femtosecond'>50</tau></thermostat></dynamics></motion>
<ensemble><temperature units='kelvin'>300</temperature></ensemble></system></simulation>"""
DIRECT = """<ffdirect name='kp'><pes>custom</pes><pes_path>{pes}</pes_path>
<parameters>{{model: {model}, template: {start}, committee: {committee}}}</parameters>
<batch_size>{batch}</batch_size></ffdirect>"""
SOCKET = "<ffsocket name='kp' mode='unix' pbc='False'><address>{address}</address><latency>1e-3</latency></ffsocket>"
EXTRAS = "<trajectory stride='1' filename='pots' extra_type='committee_pot'> extras </trajectory>"
"""Potentials of the committee, bead by bead."""


@pytest.fixture(scope="module")
def potential() -> SparseGPPotential:
    return alloy_potential()


@pytest.fixture(scope="module")
def model(potential, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("model") / "alloy.kernpot"
    potential.save(path)
    return str(path)


def i_pi() -> str:
    return str(Path(sys.executable).with_name("i-pi"))


def run_direct(folder: Path, atoms: Atoms, model: str, beads: int, steps: int, committee: int = 0) -> None:
    write(folder / "start.xyz", atoms)
    ff = DIRECT.format(pes=PES, model=model, start="start.xyz", committee=committee, batch=beads)
    text = INPUT.format(
        steps=steps, forcefield=ff, beads=beads, start="start.xyz", committee=EXTRAS if committee else ""
    )
    (folder / "input.xml").write_text(text)
    done = subprocess.run([i_pi(), "input.xml"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def frames(folder: Path, name: str, bead: str = "0") -> np.ndarray:
    """Vectors (n_frames, n_atoms, 3) of i-PI's own xyz files."""
    lines = (folder / f"run.{name}_{bead}.xyz").read_text().splitlines()
    n = int(lines[0])
    rows = [[float(x) for x in line.split()[1:]] for k, line in enumerate(lines) if k % (n + 2) > 1]
    return np.array(rows).reshape(-1, n, 3)


def standard(atoms: Atoms) -> Atoms:
    """In i-PI's axes: the first cell vector along x, the second in the xy plane."""
    cell, turn = atoms.cell.standard_form()
    return Atoms(atoms.numbers, atoms.positions @ turn.T, cell=cell, pbc=atoms.pbc)


@pytest.mark.parametrize("kind", ["crystal", pytest.param("molecule", marks=pytest.mark.slow)])
def test_i_pi_has_the_calculators_numbers(kind, potential, model, tmp_path):
    """Positions that i-PI wrote, evaluated here, give the forces, potential and virial that it wrote."""
    if kind == "crystal":
        atoms = standard(alloy((2, 1, 1), 0.05))
    else:
        atoms = cluster("Cu3Au", 3)
        atoms.set_cell([20.0, 20.0, 20.0])
    run_direct(tmp_path, atoms, model, beads=1, steps=3)
    rows = np.loadtxt(tmp_path / "run.out", ndmin=2)
    positions, forces = frames(tmp_path, "pos"), frames(tmp_path, "for")
    assert len(rows) == len(positions) == 4
    for row, x, f in zip(rows, positions, forces, strict=True):
        structure = Atoms(atoms.numbers, x, cell=atoms.cell, pbc=atoms.pbc)
        expected = potential.mean(structure)
        # i-PI writes positions and forces with six digits, and has constants of its own
        assert row[1] == pytest.approx(expected.energy, rel=1e-5, abs=1e-4)
        np.testing.assert_allclose(f, expected.forces, rtol=0, atol=1e-4 * np.abs(expected.forces).max())
        if expected.stress is not None:
            # xx yy zz xy xz yz, with the sign of a pressure
            np.testing.assert_allclose(-row[2:8], expected.stress[[0, 1, 2, 5, 4, 3]], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_committee_of_a_ring_polymer_is_reweighted_by_i_pis_own_tool(potential, model, tmp_path):
    """Four beads: averages over beads of what is written are those computed here; the tool gives what they imply."""
    atoms = standard(alloy((1, 1, 1), 0.05))
    run_direct(tmp_path, atoms, model, beads=4, steps=12, committee=6)
    pots = bead_average(sorted(tmp_path.glob("run.pots_*")))
    assert pots.shape == (13, 6)
    draws = potential.sample_potentials(6, 0)
    expected = []
    for x in np.stack([frames(tmp_path, "pos", str(b)) for b in range(4)], axis=1):
        beads = [Atoms(atoms.numbers, bead, cell=atoms.cell, pbc=True) for bead in x]
        scatter = [
            draws.evaluate(a).energies - draws.evaluate(a).energies.mean() + potential.mean(a).energy for a in beads
        ]
        expected.append(np.mean(scatter, axis=0) / units.Hartree)
    np.testing.assert_allclose(pots, expected, rtol=0, atol=2e-6)
    # the driving potential is the committee's average
    out = np.loadtxt(tmp_path / "run.out", ndmin=2)
    np.testing.assert_allclose(pots.mean(1) * units.Hartree, out[:, 1], rtol=1e-6, atol=1e-4)

    kt = 300 * units.kB / units.Hartree
    np.savetxt(tmp_path / "pots", pots)
    np.savetxt(tmp_path / "observable", out[:, 1])
    tool = Path(sys.executable).with_name("i-pi-committee-reweight")
    command = [str(tool), str(tmp_path / "pots"), str(tmp_path / "observable"), "--kt", f"{kt:.15e}"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=60, check=True)
    found = np.array(done.stdout.splitlines()[1].split(), dtype=float)
    h = (pots - pots.mean(1, keepdims=True)) / kt
    o = out[:, 1]
    members = o.mean() - (o @ h) / len(o) + o.mean() * h.mean(0)  # the cumulant expansion, by hand
    np.testing.assert_allclose(found[2:], members, rtol=1e-6)
    assert found[1] == pytest.approx(members.std(), rel=1e-4)


@pytest.mark.parametrize("backend", ["gp", "networks"])
def test_the_committee_scatters_as_the_draws_do_about_the_mean(potential, backend):
    fitted = potential if backend == "gp" else networks()
    atoms = alloy((1, 1, 1), 0.05)
    evaluation = Evaluation(fitted, atoms, committee=5, committee_forces=True, random_state=3)
    moved = atoms.positions / units.Bohr + 0.1
    found, other = evaluation([atoms.cell.array.T / units.Bohr] * 2, [atoms.positions / units.Bohr, moved])
    assert other.energy == pytest.approx(found.energy, abs=1e-10)
    mean, draws = fitted.mean(atoms), fitted.sample_potentials(5, 3).evaluate(atoms)
    assert found.energy * units.Hartree == pytest.approx(mean.energy, abs=1e-9)
    np.testing.assert_allclose(found.forces * units.Hartree / units.Bohr, mean.forces, atol=1e-9)
    told = json.loads(found.extras)
    pots = np.array(told["committee_pot"]) * units.Hartree
    np.testing.assert_allclose(pots - mean.energy, draws.energies - draws.energies.mean(), atol=1e-9)
    assert told["energy_std"] * units.Hartree == pytest.approx(fitted.energy_std(atoms).std, rel=1e-9)
    forces = np.array(told["committee_force"]).reshape(5, -1, 3)
    np.testing.assert_allclose(forces.mean(0), found.forces, atol=1e-9)
    np.testing.assert_allclose(np.array(told["committee_virial"]).mean(0), found.virial.ravel(), atol=1e-9)
    assert Evaluation(fitted, atoms)([atoms.cell.array.T / units.Bohr], [atoms.positions / units.Bohr])[0].extras == ""


def networks() -> NNPEnsemble:
    return estimator("Cu", "Au").fit([*crystals(9, symbols="Cu3Au"), cluster("Cu3Au")])


@pytest.mark.slow
def test_two_clients_at_a_socket(model, tmp_path):
    """The same run as in i-PI's own process."""
    atoms = standard(alloy((1, 1, 1), 0.05))
    (tmp_path / "direct").mkdir()
    run_direct(tmp_path / "direct", atoms, model, beads=2, steps=4, committee=3)
    write(tmp_path / "start.xyz", atoms)
    address = f"kernpot-test-{tmp_path.name}-{time.time_ns()}"
    text = INPUT.format(
        steps=4, forcefield=SOCKET.format(address=address), beads=2, start="start.xyz", committee=EXTRAS
    )
    (tmp_path / "input.xml").write_text(text)
    server = subprocess.Popen([i_pi(), "input.xml"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        socket = Path(f"/tmp/ipi_{address}")
        for _ in range(600):
            if socket.exists():
                break
            time.sleep(0.1)
        command = [sys.executable, "-c", "from kernpot.cli.app import main; main()", "ipi", model, "start.xyz"]
        command += ["--address", address, "--committee", "3"]
        clients = [subprocess.Popen(command, cwd=tmp_path) for _ in range(2)]
        assert server.wait(timeout=120) == 0
        assert [client.wait(timeout=60) for client in clients] == [0, 0]
    finally:
        server.kill()
    for name in ("run.out", "run.pots_0", "run.pots_1"):
        near, far = (np.loadtxt(folder / name) for folder in (tmp_path, tmp_path / "direct"))
        np.testing.assert_allclose(near, far, rtol=1e-7, atol=1e-9)


@pytest.mark.slow
def test_no_server(model, tmp_path):
    write(tmp_path / "start.xyz", alloy((1, 1, 1)))
    with pytest.raises(KernpotError, match=r"client at the unix socket 'nobody-is-here' .*Is i-PI running"):
        run_client(model, tmp_path / "start.xyz", "nobody-is-here")
    found = CliRunner().invoke(app, ["ipi", model, str(tmp_path / "start.xyz"), "--address", "nobody-is-here"])
    assert found.exit_code == 1
    assert "Traceback" not in found.output


def test_what_cannot_be_run_is_refused_before_i_pi_is_asked(potential, model, tmp_path):
    write(tmp_path / "water.xyz", molecule("H2O"))
    with pytest.raises(StructureError, match=r"template holds atomic numbers \[1, 8\]"):
        run_client(model, tmp_path / "water.xyz", "nobody-is-here")
    with pytest.raises(KernpotError, match="at least 2, or 0"):
        Evaluation(potential, alloy((1, 1, 1)), committee=1)
    (tmp_path / "torn").write_text("#EXTRAS(committee_pot)# Step: 1\n 1.0 2.0\n#EXTRAS\n 1.0\n")
    with pytest.raises(KernpotError, match="expected lines of numbers"):
        read_extras(tmp_path / "torn")
    (tmp_path / "short").write_text("1.0 2.0\n")
    (tmp_path / "long").write_text("1.0 2.0\n3.0 4.0\n")
    with pytest.raises(KernpotError, match="as many frames and members for every bead"):
        bead_average([tmp_path / "short", tmp_path / "long"])
    with pytest.raises(KernpotError, match="got none"):
        bead_average([])


def test_a_cell_that_counts_for_nothing_is_refused(potential):
    """A template without pbc beside a crystal's cell, a box that a barostat changes; a molecule in a large box runs."""
    crystal = alloy((2, 2, 2))
    bohr = crystal.positions / units.Bohr
    cell = crystal.cell.array.T / units.Bohr
    template = Atoms(crystal.numbers, crystal.positions)
    with pytest.raises(
        StructureError, match="periodic in 0 of 3 directions, and i-PI's cell, read as periodic, brings"
    ):
        Evaluation(potential, template)([cell], [bohr])
    slab = Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=[True, True, False])
    with pytest.raises(StructureError, match="periodic in 2 of 3 directions"):
        Evaluation(potential, slab)([cell], [bohr])

    found = cluster("Cu3Au", 0)
    wide = np.eye(3) * 40.0 / units.Bohr
    alone = Evaluation(potential, found)
    (answer,) = alone([wide], [found.positions / units.Bohr])
    assert answer.energy * units.Hartree == pytest.approx(potential.mean(found).energy, abs=1e-9)
    with pytest.raises(StructureError, match="i-PI's cell changes, but the template is periodic in 0 of 3"):
        alone([1.001 * wide], [found.positions / units.Bohr])
    # Periodic in all directions, the cell may change.
    both = Evaluation(potential, crystal)
    assert both([cell], [bohr])[0].energy != both([1.01 * cell], [1.01 * bohr])[0].energy

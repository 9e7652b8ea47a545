"""The command line: the whole way from data to report, and one clear message for each mistake."""

from __future__ import annotations

import json
import platform
import re
import shutil
import sys
from importlib.metadata import version
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from rich.console import Console
from typer.testing import CliRunner

import kernpot
from kernpot import SparseGPPotential
from kernpot.cli import console as console_module
from kernpot.cli import demo as demo_module
from kernpot.cli import fit as fit_module
from kernpot.cli.app import app, main
from kernpot.cli.demo import carried_data
from kernpot.files.container import load
from kernpot.structures import read_structures
from kernpot.uncertainty.evaluation import UNITS
from kernpot.uncertainty.metrics import compute_metrics
from tests.helpers.systems import crystals, soap

SMALL = ["--n-inducing", "40", "--n-max", "4", "--l-max", "3", "--cutoff", "4"]


def run(*arguments: object, code: int = 0) -> str:
    """Run kernpot, require the exit code, return stdout and stderr without line breaks."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return re.sub(r"\s+", " ", result.output)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training and test files of solid CO2, and a small model of it."""
    path = tmp_path_factory.mktemp("cli")
    frames = [atoms for atoms in read_structures(carried_data("dry_ice_gfn1")) if len(atoms) > 1]
    for atoms in frames:
        del atoms.info["source"]
    for split, step in (("train", 4), ("test", 3)):
        write(path / f"{split}.xyz", [atoms for atoms in frames if atoms.info["split"] == split][::step])
    run("fit", path / "train.xyz", "-o", path / "co2.kernpot", *SMALL)
    return path


def test_fit_says_what_it_learnt_and_what_comes_next(folder: Path, tmp_path: Path) -> None:
    output = run(
        "fit",
        folder / "train.xyz",
        "-o",
        tmp_path / "m.kernpot",
        *SMALL,
        "--zeta",
        3,
        "--inducing",
        "random",
        "--n-components",
        9,
    )
    assert "21 structures, 252 atoms" in output and "train.xyz 21 structures: energy 21, forces 21" in output
    assert "Noise forces" in output and "eV/Å" in output
    assert f"kernpot evaluate {tmp_path / 'm.kernpot'}" in output
    assert "Inducing environments 40 in 9 directions" in run("info", tmp_path / "m.kernpot")
    potential = load(tmp_path / "m.kernpot")
    assert potential.cutoff == 4 and potential.kernels_[0].zeta == 3 and potential.n_inducing_ == 40


def test_same_seed_same_model(folder: Path, tmp_path: Path) -> None:
    run("fit", folder / "train.xyz", "-o", tmp_path / "again.kernpot", *SMALL)
    atoms = read(folder / "test.xyz")
    first, second = (
        load(path).predict([atoms], return_std=True) for path in (folder / "co2.kernpot", tmp_path / "again.kernpot")
    )
    assert first[0][0] == second[0][0] and first[1][0] == second[1][0]


def test_evaluate_prints_tables_and_writes_the_report(folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "new" / "report"
    output = run("evaluate", folder / "co2.kernpot", folder / "test.xyz", "--report", report)
    for text in (
        "Energies per atom (meV/atom)",
        "Force components (eV/Å)",
        "Stress components (GPa)",
        "MD900",
        "strain",
    ):
        assert text in output
    plots = [
        "deciles",
        "error_std",
        "groups",
        "parity_energy",
        "parity_forces",
        "parity_stress",
        "reliability",
        "z_histogram",
    ]
    assert sorted(path.name for path in report.iterdir()) == sorted(
        [*(f"{name}.png" for name in plots), "metrics.json", "report.html"]
    )
    metrics = json.loads((report / "metrics.json").read_text())
    overall = next(row for row in metrics["metrics"] if row["kind"] == "forces" and row["config_type"] == "all")
    assert overall["n_components"] == 36 * metrics["n_structures"] == 36 * 12
    assert f"{overall['mae']:.3g}" in output
    assert overall["unit"] == "eV/Å" and len(overall["deciles"]) == 10 and len(overall["ranges"]["crps"]) == 2
    assert metrics["findings"][0]["text"] in output


def test_info_without_a_model_tells_what_a_report_of_a_bug_needs() -> None:
    output = run("info")
    assert f"Version {kernpot.__version__}" in output
    assert f"Python {platform.python_version()}" in output and platform.platform() in output
    assert "OMP_NUM_THREADS" in output
    for library in ("ase", "dscribe", "gpytorch", "numba", "torch"):
        assert f" {library} {version(library)} " in output
    for library, extra in (("dask", "cluster"), ("phonopy", "properties")):
        assert re.search(rf" {library} \({extra}\) ([\d.]+|not installed) ", output)
    assert "pytest" not in output


def test_info_shows_the_model(folder: Path) -> None:
    output = run("info", folder / "co2.kernpot")
    for text in (
        "Elements C, O",
        "Inducing environments 40",
        "Cutoff 4 Å",
        "n_max, l_max 4, 3",
        "Amplitude C",
        "Noise energy",
        "eV/atom",
        "GPa)",
        "Structures, atoms 21, 252",
        "Random state 0",
        "dscribe",
    ):
        assert text in output
    assert len(re.findall(r"\b[0-9a-f]{64}\b", output)) == 2  # hashes of data and model, in full


def test_md_runs_writes_and_stops_at_the_gate(folder: Path, tmp_path: Path) -> None:
    trajectory = tmp_path / "md.xyz"
    model, start = folder / "co2.kernpot", folder / "test.xyz"
    output = run("md", model, start, "--steps", 4, "--every", 2, "--force-std", 100, "-o", trajectory)
    assert "4 steps done" in output
    assert [atoms.info["time_fs"] for atoms in read(trajectory, ":")] == [0, 2, 4]
    run("md", model, start, "-o", trajectory, code=1)
    output = run("md", model, start, "--steps", 9, "--force-std", 1e-6, "-o", trajectory, "--force", code=3)
    assert "gate stopped: step 0: a force component on atom" in output and "md_gate.xyz" in output
    assert len(read(tmp_path / "md_gate.xyz", ":")) == 1


@pytest.mark.wrong_input("Command line", "fit and evaluate on files that md or its gate wrote", "refused")
def test_what_md_predicted_is_neither_learnt_nor_scored(folder: Path, tmp_path: Path) -> None:
    model, trajectory = folder / "co2.kernpot", tmp_path / "md.xyz"
    run("md", model, folder / "test.xyz", "--steps", 2, "--force-std", 1e-6, "-o", trajectory, code=3)
    for name in ("md.xyz", "md_gate.xyz"):
        for command in (
            ["fit", folder / "train.xyz", tmp_path / name, "-o", tmp_path / "m.kernpot", *SMALL],
            ["evaluate", model, tmp_path / name],
        ):
            output = run(*command, code=1)
            assert f"error: {name}#0: its energy and forces are what a potential of kernpot predicted" in output
            assert "Compute them with the reference method" in output
    assert not (tmp_path / "m.kernpot").exists()
    assert "2 steps done" in run(
        "md", model, tmp_path / "md_gate.xyz", "--steps", 2, "--force-std", 100, "-o", tmp_path / "again.xyz"
    )


def test_labels_are_counted_by_file_and_half_a_set_is_told(folder: Path, tmp_path: Path) -> None:
    frames = read(folder / "train.xyz", ":6")
    for atoms in frames:
        del atoms.calc.results["forces"]
    write(tmp_path / "bare.xyz", frames)
    files = [folder / "train.xyz", tmp_path / "bare.xyz"]
    output = run("fit", *files, "-o", tmp_path / "m.kernpot", *SMALL)
    assert "6 of 27 structures of several atoms (from bare.xyz#0 on) have no forces" in output
    for text in ("train.xyz 21 structures: energy 21, forces 21", "bare.xyz 6 structures: energy 6, forces 0"):
        assert text in output and text in run("info", tmp_path / "m.kernpot")


def test_md_that_cannot_start_keeps_the_old_trajectory(folder: Path, tmp_path: Path) -> None:
    old = tmp_path / "keep.xyz"
    old.write_text("precious")
    atoms = read(folder / "test.xyz")
    atoms.calc = None
    atoms.symbols[0] = "Si"
    write(tmp_path / "start.xyz", atoms)
    assert "Si" in run("md", folder / "co2.kernpot", tmp_path / "start.xyz", "-o", old, "--force", code=1)
    assert old.read_text() == "precious"


def test_an_input_is_never_replaced(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train.xyz", "co2.kernpot"):
        shutil.copy(folder / name, tmp_path)
    shutil.copy(folder / "test.xyz", tmp_path / "md_gate.xyz")
    (tmp_path / "link.xyz").symlink_to("train.xyz")
    (tmp_path / "sub").mkdir()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ("fit", "train.xyz", "-o", "train.xyz"),
        ("fit", "md_gate.xyz", "link.xyz", "-o", "sub/../train.xyz"),
        ("md", "co2.kernpot", "train.xyz", "-o", tmp_path / "train.xyz"),
        ("md", "co2.kernpot", "train.xyz", "-o", "co2.kernpot"),
        ("md", "co2.kernpot", "md_gate.xyz"),  # where the gate would write
    ):
        assert "is an input of this command" in run(*arguments, "--force", code=1)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_unwritable_folder_is_noticed_before_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refused)  # permissions would not stop root
    monkeypatch.setattr(fit_module, "read_structures", lambda *_: pytest.fail("work has started"))
    output = run("fit", folder / "train.xyz", "-o", tmp_path / "m.kernpot", code=1)
    assert "cannot be written to (Read-only file system)" in output


@pytest.mark.skipif(sys.platform != "linux", reason="a folder nobody can write to")
def test_proc_cannot_be_written_to(folder: Path) -> None:
    assert "the folder /proc cannot be written to" in run("fit", folder / "train.xyz", "-o", "/proc/x.kernpot", code=1)


@pytest.mark.parametrize("kind", ["energy", "forces", "stress"])
def test_titles_of_tables_fit_80_columns(kind: str) -> None:
    """Even above the narrowest numbers: a title wraps at the width of its table."""
    row = compute_metrics(kind, "all", UNITS[kind], np.zeros(6), np.ones(6), np.zeros(6, dtype=np.int64))
    out = StringIO()
    Console(file=out, width=80).print(console_module._metrics_table(kind, [row]))
    assert out.getvalue().splitlines()[0].rstrip().endswith("% intervals")


def test_labels_with_other_names(folder: Path, tmp_path: Path) -> None:
    frames = read(folder / "train.xyz", ":6")
    for atoms in frames:
        atoms.info["dft_energy"], atoms.arrays["dft_forces"] = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
    write(tmp_path / "named.xyz", frames)
    keys = ["--energy-key", "dft_energy", "--forces-key", "dft_forces"]
    assert "has an energy" in run("fit", tmp_path / "named.xyz", "-o", tmp_path / "a.kernpot", *SMALL, code=1)
    assert "wrote" in run("fit", tmp_path / "named.xyz", "-o", tmp_path / "a.kernpot", *SMALL, *keys)


def test_bad_frame_is_refused_by_file_and_number_before_work(folder: Path, tmp_path: Path) -> None:
    frames = read(folder / "train.xyz", ":3")
    frames[1].positions[1] = frames[1].positions[0]
    write(tmp_path / "bad.xyz", frames)
    output = run("fit", tmp_path / "bad.xyz", "-o", tmp_path / "m.kernpot", code=1)
    assert output.count("error:") == 1 and "bad.xyz#1" in output
    assert not (tmp_path / "m.kernpot").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fit", "absent.xyz"], 1, "absent.xyz: no such file"),
        (["fit", "train.xyz", "-o", "co2.kernpot"], 1, "co2.kernpot exists.*--force"),
        (["fit", "train.xyz", "-o", "no/where.kernpot"], 1, "the folder .*no does not exist"),
        (["fit", "train.xyz", "-o", "."], 1, "expected the name of a file to write"),
        (["fit"], 2, "Missing argument"),
        (["fit", "train.xyz", "--cutoff", "-1"], 2, "--cutoff"),
        (["fit", "train.xyz", "--n-inducing", "0"], 2, "--n-inducing"),
        (["fit", "train.xyz", "--zeta", "1.5"], 2, "--zeta"),
        (["fit", "train.xyz", "--n-jobs", "0"], 2, "--n-jobs"),
        (["fit", "train.xyz", "--inducing", "best"], 2, "--inducing"),
        (["evaluate", "train.xyz", "test.xyz"], 1, "not a kernpot model file"),
        (["evaluate", "absent.kernpot", "test.xyz"], 1, "no model file at"),
        (["evaluate", "co2.kernpot", "test.xyz", "--report", "train.xyz"], 1, "is a file; give a folder"),
        (["info", "absent.kernpot"], 1, "no model file at"),
        (["md", "co2.kernpot", "train.xyz", "--index", "99"], 1, "has 21 structure.s., there is no number 99"),
        (["md", "co2.kernpot", "train.xyz", "--steps", "0"], 2, "--steps"),
        (["md", "co2.kernpot"], 2, "first structure, or --resume"),
        (["md", "co2.kernpot", "train.xyz", "--force-std", "1", "--tolerance", "1"], 2, "give one of them"),
        (["md", "co2.kernpot", "--resume", "-o", "none.xyz"], 1, "none.xyz: no such file; --resume goes on"),
        (["md", "co2.kernpot", "--resume", "-o", "train.xyz"], 1, "says how it was run"),
        (["learn"], 2, "give a file of settings, or --resume"),
        (["learn", "absent.yaml"], 1, "absent.yaml: no such file; write one with: kernpot learn absent.yaml --init"),
        (["learn", "--resume", "."], 1, "is no run of kernpot learn: expected config.yaml in it"),
        (["learn", "--resume", ".", "--directory", "x"], 2, "a resumed run stays where it is"),
        (["report", "."], 1, "is not the directory of a run: expected events.jsonl in it"),
        (["dance"], 2, "No such command"),
    ],
)
def test_mistakes_end_in_one_message_and_the_right_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(folder)
    assert re.search(message, run(*arguments, code=code))


def test_unknown_element_in_the_test_file(folder: Path, tmp_path: Path) -> None:
    atoms = read(folder / "test.xyz")
    calculator, atoms.calc = atoms.calc, None
    atoms.symbols[0] = "Si"
    calculator.atoms = atoms.copy()
    atoms.calc = calculator
    write(tmp_path / "si.xyz", atoms)
    assert re.search(r"error: .*Si", run("evaluate", folder / "co2.kernpot", tmp_path / "si.xyz", code=1))


def test_ctrl_c_ends_cleanly_with_130(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SparseGPPotential, "fit", interrupted)
    assert "interrupted" in run("fit", folder / "train.xyz", "-o", tmp_path / "m.kernpot", code=130)
    assert list(tmp_path.iterdir()) == []


def test_a_bug_ends_in_a_sentence_that_tells_where_its_traceback_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_module, "read_structures", lambda *_: 1 / 0)
    arguments = ["fit", str(folder / "train.xyz"), "-o", str(tmp_path / "m.kernpot")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.output and "export KERNPOT_TRACEBACK=1" in result.output
    monkeypatch.setenv("KERNPOT_TRACEBACK", "1")
    assert isinstance(CliRunner().invoke(app, arguments).exception, ZeroDivisionError)


@pytest.mark.parametrize("command", ["fit", "evaluate", "md", "info", "demo", "learn", "report"])
def test_help_teaches_by_example(command: str) -> None:
    output = run(command, "--help")
    assert "Example" in output and f"kernpot {command} " in output.split("Example")[1]


def test_entry_point(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["kernpot", "--version"])
    with pytest.raises(SystemExit) as finished:
        main()
    assert finished.value.code == 0 and capsys.readouterr().out.startswith("kernpot ")


@pytest.mark.slow
def test_demo_on_a_part_of_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tuple(demo_module._Part(part.name, part.title, 30) for part in demo_module.PARTS)
    monkeypatch.setattr(demo_module, "PARTS", parts)
    monkeypatch.setattr(demo_module, "HEATING_STEPS", 40)
    monkeypatch.setattr(demo_module, "read_structures", lambda path: read_structures(path)[::8])
    output = run("demo", "--output", tmp_path / "demo")
    assert "done in" in output and "report.html" in output
    for name in ("ethanol_gfn2", "dry_ice_gfn1"):
        assert (tmp_path / "demo" / f"{name}.kernpot").is_file()
        assert (tmp_path / "demo" / name / "report.html").stat().st_size > 100_000
    assert len(list((tmp_path / "demo").glob("heating_*.xyz"))) == 1


@pytest.mark.slow
def test_demo_as_it_is_fires_the_gate_and_repeats_itself(tmp_path: Path) -> None:
    outputs = [run("demo", "-o", tmp_path / name) for name in ("first", "second")]
    assert all("the gate fired" in output for output in outputs)
    for name in ("ethanol_gfn2/metrics.json", "dry_ice_gfn1/metrics.json"):
        first, second = (json.loads((tmp_path / folder / name).read_text()) for folder in ("first", "second"))
        assert first["metrics"] == second["metrics"]
    first, second = ((tmp_path / folder / "heating_gate.xyz").read_bytes() for folder in ("first", "second"))
    assert first == second


@pytest.fixture(scope="module")
def copper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of copper, a crystal near its minimum, and a slab."""
    path = tmp_path_factory.mktemp("copper")
    SparseGPPotential(soap(), n_inducing=30, random_state=0).fit(crystals(12)).save(path / "cu.kernpot")
    write(path / "cu.xyz", bulk("Cu", a=3.7))
    thin = bulk("Cu", cubic=True)
    thin.pbc = [True, True, False]
    write(path / "slab.xyz", thin)
    return path


def test_properties_come_with_intervals(copper: Path, tmp_path: Path) -> None:
    out = tmp_path / "cu.json"
    output = run("properties", copper / "cu.kernpot", copper / "cu.xyz", "--draws", 8, "-o", out)
    assert "C44" in output and "C45" not in output and "GPa" in output and "90% from" in output
    found = json.loads(out.read_text())
    lengths = {f"{name}{which}" for name in "abc" for which in ("", " (conventional)")}  # the cell given is primitive
    assert found["a (conventional)"]["value"] == pytest.approx(2**0.5 * found["a"]["value"], rel=1e-4)
    assert set(found) == lengths | {"V0", "E0", "B0", "B0'", "C11", "C12", "C44", "K (Hill)", "G (Hill)"}
    assert abs(found["V0"]["value"] - 3.59**3 / 4) < 0.3
    bulk_moduli = [found[name] for name in ("B0", "K (Hill)")]
    assert all(q["interval"][0] < q["value"] < q["interval"][1] and q["std"] > 0 for q in bulk_moduli)
    assert abs(bulk_moduli[0]["value"] - bulk_moduli[1]["value"]) < 0.05 * bulk_moduli[0]["value"]
    assert "exists" in run("properties", copper / "cu.kernpot", copper / "cu.xyz", "-o", out, code=1)


def test_properties_of_a_slab_are_refused(copper: Path) -> None:
    output = run("properties", copper / "cu.kernpot", copper / "slab.xyz", code=1)
    assert "periodic in three directions" in output

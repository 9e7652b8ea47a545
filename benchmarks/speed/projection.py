"""What few directions for inducing environments cost: leave-one-structure-out errors and fit time by ``n_components``.

    python -m benchmarks speed projection Si 3bpa

The inducing environments are chosen once per setting, with all features, and used for every row, so that rows differ
by the directions alone. The test part is not opened. Rows already in results/projection.json are not fitted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
from ase import Atoms

from benchmarks.shared.command_line import some_of
from benchmarks.shared.datasets import DATASETS, Setting, species_of
from benchmarks.shared.results import write_result, written
from benchmarks.shared.timing import Clock
from kernpot.descriptors import SOAPFeatures
from kernpot.functionals.descriptions import Descriptions
from kernpot.gp.inducing.blocks import choose, components_of

_SI = ((5.0, 10, 6, 0.5, 1),)
_ALLOY = ((5.0, 6, 4, 0.5, 1),)

# Settings that accuracy settings chose (Si: with M = 1000, as in the comparison with GAP), and their alternatives.
CASES: dict[str, tuple[tuple[Setting, tuple[int | None, ...]], ...]] = {
    "Si": (
        (Setting(_SI, 2, 1000, inducing="leverage"), (None, 128, 96, 64)),
        (Setting(_SI, 4, 1000, inducing="leverage"), (None, 128, 64)),
    ),
    "3bpa": ((Setting(((4.5, 6, 5, 0.3, 1),), 2, 1200, inducing="leverage"), (None, 768, 512, 256)),),
    "nbmotaw": ((Setting(_ALLOY, 2, 1200, "mu1nu1", "leverage"), (None, 256, 128)),),
}


def chosen_atoms(structures: list[Atoms], setting: Setting) -> list[Atoms]:
    """Copies of the structures that hold inducing environments, with those atoms marked."""
    gp = setting.estimator(species_of(structures))
    described = Descriptions([SOAPFeatures(gp.descriptor[0])], structures)
    rng = np.random.RandomState(0)
    blocks = choose(described, components_of([gp.kernel]), setting.n_inducing, setting.inducing, rng, [{}])
    wanted = {row.tobytes() for block in blocks for row in block.environments.numpy()}
    marked = []
    for k, atoms in enumerate(structures):
        copy, unit = atoms.copy(), described[k].described[0].unit
        copy.arrays["inducing"] = np.array([row.tobytes() in wanted for row in unit.numpy()])
        if copy.arrays["inducing"].any():
            marked.append(copy)
    return marked


def main(arguments: Sequence[str]) -> None:
    """Fit every setting of each named data set with every number of components."""
    for name in some_of("speed projection", __doc__, CASES, arguments):
        train = DATASETS[name].train()
        for case, numbers in CASES[name]:
            inducing = chosen_atoms(train, case)
            for n_components in numbers:
                setting = replace(case, n_components=n_components)
                rows = (written("speed/projection") or {"rows": []})["rows"]
                if any(row["set"] == name and Setting.of(row["setting"]) == setting for row in rows):
                    continue
                gp = setting.estimator(species_of(train)).set_params(inducing=inducing)
                clock = Clock()
                gp.fit(train)
                times, mae = clock.read(), gp.summary_["hyperparameters"]["leave_one_out"]["mae"]
                directions = max(gp.summary_["n_components"])
                row = {"set": name, "setting": asdict(setting), "directions": directions}
                rows.append(row | {"leave_one_out_mae": mae, **times})
                write_result("speed/projection", {"rows": rows})
                print(
                    f"{name:8s} zeta={setting.zeta} M={gp.n_inducing_} {setting.compression:6s}"
                    f" {directions:4d} directions, leave-one-out: energy {1e3 * mae['energy']:.3f} meV/atom,"
                    f" forces {mae['forces']:.5f} eV/A, {times['cpu_s']:.1f} s CPU",
                    flush=True,
                )

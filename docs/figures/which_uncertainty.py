"""Draw the pictures of docs/which-uncertainty.md: every kind of uncertainty of one model of the copper dimer.

    python docs/figures/which_uncertainty.py [FOLDER]

writes the PNG files into the folder (that of this script when not given), in about half a minute.

The labels come from ASE's effective-medium potential, so nothing is downloaded; each carries a random error of 30 meV,
which stands for all that a model cannot see.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from dscribe.descriptors import SOAP
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.report.panels import COLOURS, STYLE
from kernpot.uncertainty import conformal

CUTOFF = 5.5
LABEL_ERROR = 0.03  # eV
LABELLED = np.concatenate([np.linspace(2.1, 2.75, 14), np.linspace(3.75, 4.1, 8)])
INDUCING = np.concatenate([np.linspace(2.1, 2.75, 6), np.linspace(2.95, 3.5, 4)])
REGIONS = (
    (2.05, 2.8, "data,\ninducing"),
    (2.8, 3.65, "no data,\ninducing"),
    (3.65, 4.15, "data, not\ninducing"),
    (4.15, 5.0, "neither"),
)
LENGTHS = np.linspace(2.05, 5.0, 119)
BLUE, ORANGE, GREEN, PINK = COLOURS[:4]


def dimer(length: float) -> Atoms:
    """Two copper atoms."""
    return Atoms("Cu2", [[0, 0, 0], [length, 0, 0]])


def true_energy(length: float) -> float:
    """Energy by effective-medium theory, eV."""
    atoms = dimer(length)
    atoms.calc = EMT()
    return float(atoms.get_potential_energy())


def labelled(length: float, error: float) -> Atoms:
    """A dimer with its energy and an error as label."""
    atoms = dimer(length)
    atoms.calc = SinglePointCalculator(atoms, energy=true_energy(length) + error)
    return atoms


def fitted(train: Sequence[Atoms]) -> SparseGPPotential:
    """A model whose inducing environments are not where the data are."""
    weighting = {"function": "poly", "r0": CUTOFF, "c": 1.0, "m": 1}
    soap = SOAP(species=["Cu"], r_cut=CUTOFF, n_max=8, l_max=2, sigma=0.3, periodic=True, weighting=weighting)
    inducing = [dimer(length) for length in INDUCING]
    for atoms in inducing:
        atoms.arrays["inducing"] = np.array([True, False])
    noise = {"energy": LABEL_ERROR / 2, "forces": 0.1}  # eV/atom; there are no forces among the labels
    alone = true_energy(20.0) / 2
    potential = SparseGPPotential(
        soap, kernel=SOAPKernel(zeta=4), inducing=inducing, noise=noise, isolated_atoms={"Cu": alone}, random_state=0
    )
    return potential.fit(train)


def draw_parts(potential: SparseGPPotential, train: Sequence[Atoms]) -> Figure:
    """Intervals for labels and for the potential, and the three parts they consist of."""
    found = [p.energy for p in potential.predict_full([dimer(length) for length in LENGTHS])]
    mean, epistemic, std = (np.array([getattr(q, name) for q in found]) for name in ("mean", "epistemic_std", "std"))
    parts = {}
    for part in ("parameter", "unrepresented"):
        draws = potential.sample_potentials(400, 0, parts=(part,), posterior="bayes")
        parts[part] = np.array([np.std(draws.evaluate(dimer(length)).energies) for length in LENGTHS])
    figure = Figure((7.4, 6.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.35, 1))
    quantile = norm.ppf(0.95)
    truth = np.array([true_energy(length) for length in LENGTHS])
    for width, alpha, name in ((std, 0.2, "90 % for labels (std)"), (epistemic, 0.4, "90 % for the potential")):
        low, high = (1000 * (mean - truth + sign * quantile * width) for sign in (-1, 1))
        top.fill_between(LENGTHS, low, high, color=BLUE, alpha=alpha, linewidth=0, label=name)
    top.plot(LENGTHS, 1000 * (mean - truth), color=BLUE, linewidth=1.4, label="mean")
    top.axhline(0, color="#000000", linestyle="--", linewidth=1, label="truth")
    errors = [atoms.get_potential_energy() - true_energy(r) for atoms, r in zip(train, LABELLED, strict=True)]
    top.plot(LABELLED, 1000 * np.array(errors), "o", color=ORANGE, markersize=4, label="labels")
    top.plot(INDUCING, np.full(INDUCING.size, -470), "|", color="#000000", markersize=9, label="inducing environments")
    top.set(ylabel="energy - truth (meV)", ylim=(-500, 420))
    top.legend(loc="lower left", bbox_to_anchor=(0, 0.08), ncols=2)
    misfit = np.sqrt(std**2 - epistemic**2)
    for name, values, colour in (
        ("parameters: data do not fix them", parts["parameter"], GREEN),
        ("unrepresented: no like among the inducing", parts["unrepresented"], PINK),
        ("misfit: labels the model cannot follow", misfit, ORANGE),
    ):
        bottom.plot(LENGTHS, 1000 * values, color=colour, linewidth=1.8, label=name)
    bottom.plot(LENGTHS, 1000 * std, color=BLUE, linewidth=1, linestyle=":", label="std: root of the sum of squares")
    bottom.set(xlabel="distance (Å)", ylabel="std (meV)", ylim=(0, 1150 * std.max()))
    bottom.legend(loc="upper left")
    _shade(top, 405)
    _shade(bottom, None)
    return figure


def draw_novelty(potential: SparseGPPotential) -> Figure:
    """Numbers without unit beside the std they are not."""
    found = potential.novelty([dimer(length) for length in LENGTHS])
    figure = Figure((7.4, 4.2), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    names = (
        ("leverage", "leverage", GREEN),
        ("gain", "D-optimal gain", BLUE),
        ("mahalanobis", "Mahalanobis distance", PINK),
        ("distance", "distance to the nearest\ninducing environment", ORANGE),
    )
    for axes, (name, title, colour) in zip(panels.ravel(), names, strict=True):
        axes.plot(LENGTHS, [getattr(one, name).max() for one in found], color=colour, linewidth=1.8)
        axes.set(ylabel=f"{title}\n(no unit)", ylim=(0, None))
        _shade(axes, None)
    for axes in panels[1]:
        axes.set_xlabel("distance between the atoms (Å)")
    return figure


def draw_draws(potential: SparseGPPotential) -> Figure:
    """Draws less their mean: with the uncertainty of the weights alone, and with what is not represented."""
    figure = Figure((7.4, 3.5), layout="constrained")
    titles = ('parts=("parameter",)', "both parts (the default)")
    for axes, parts, title in zip(
        figure.subplots(1, 2, sharey=True), (("parameter",), ("parameter", "unrepresented")), titles, strict=True
    ):
        draws = potential.sample_potentials(12, 0, parts=parts)
        curves = np.array(
            [draws.evaluate(atoms).energies - potential.mean(atoms).energy for atoms in map(dimer, LENGTHS)]
        )
        axes.plot(LENGTHS, 1000 * curves, color=BLUE, linewidth=0.9, alpha=0.8)
        axes.set(title=title, xlabel="distance (Å)")
        _shade(axes, None)
    figure.axes[0].set_ylabel("draw - mean (meV)")
    return figure


def draw_copies(potential: SparseGPPotential) -> Figure:
    """Uncertainty of a total energy against the number of molecules, which do not see each other."""
    counts = np.array([1, 2, 4, 8, 16, 32])
    rng = np.random.default_rng(1)
    alike, different, independent = [], [], []
    for count in counts:
        same = potential.predict_full(_gas([2.3] * count))[0]
        alike.append(float(same.energy.epistemic_std))
        independent.append(float(np.sqrt(np.sum(same.energies.epistemic_std**2))))
        mixed = potential.predict_full([_gas(rng.uniform(2.1, 4.0, count).tolist()) for _ in range(20)])
        different.append(float(np.sqrt(np.mean([prediction.energy.epistemic_std**2 for prediction in mixed]))))
    figure = Figure((5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    look = {"marker": "o", "markersize": 4, "linewidth": 1.4}
    axes.loglog(
        counts, 1000 * np.array(different), color=GREEN, label="total, different molecules (mean of 20)", **look
    )
    axes.loglog(counts, 1000 * np.array(alike), color=BLUE, label="total, copies of one", **look)
    axes.loglog(
        counts,
        1000 * np.array(independent),
        color=ORANGE,
        linestyle="--",
        label="wrong: copies, atoms in quadrature",
        **look,
    )
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set(xlabel="number of molecules", ylabel="epistemic_std of the energy (meV)")
    axes.legend(loc="upper left")
    return figure


def draw_conformal(potential: SparseGPPotential) -> Figure:
    """What intervals hold on new runs whose errors are not those of the training data."""
    rng = np.random.default_rng(2)
    held_out, new = ([atoms for run in range(40) for atoms in _run(rng, run)] for _ in range(2))
    intervals = conformal(potential, held_out)
    levels = np.linspace(0.05, 0.95, 19)
    label = np.array([atoms.get_potential_energy() for atoms in new])
    found = [prediction.energy for prediction in potential.predict_full(new)]
    score = np.abs([q.mean for q in found] - label) / np.array([q.std for q in found])
    figure = Figure((5.2, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#333333", linewidth=0.9)
    by_std = [np.mean(score <= norm.ppf(0.5 + level / 2)) for level in levels]
    by_blocks = [np.mean(score <= intervals.factor("energy", level)) for level in levels]
    axes.plot(levels, by_std, color=ORANGE, linewidth=1.8, label="mean ± q std")
    axes.plot(levels, by_blocks, color=BLUE, linewidth=1.8, label="conformal, 40 runs held out")
    axes.set(xlabel="share the interval claims", ylabel="share found inside, on 40 new runs", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left")
    return figure


def _run(rng: np.random.Generator, run: int) -> list[Atoms]:
    """Dimers of one run, whose labels have an error in common besides their own."""
    shift = 0.04 * rng.standard_t(3)
    frames = [labelled(length, shift + LABEL_ERROR * rng.normal()) for length in rng.uniform(2.1, 2.75, 10)]
    for atoms in frames:
        atoms.info["trajectory"] = run
    return frames


def _gas(lengths: Sequence[float]) -> Atoms:
    """Dimers too far apart to see each other."""
    gas = Atoms()
    for place, length in enumerate(lengths):
        molecule = dimer(length)
        molecule.translate([0, 4 * CUTOFF * place, 0])
        gas += molecule
    return gas


def _shade(axes: Axes, height: float | None) -> None:
    """Mark the regions; name them at this height."""
    for index, (low, high, name) in enumerate(REGIONS):
        if index % 2:
            axes.axvspan(low, high, color="#000000", alpha=0.05, linewidth=0)
        if height is not None:
            axes.text(0.5 * (low + high), height, name, ha="center", va="top", fontsize=8, color="#555555")
    axes.set_xlim(REGIONS[0][0], REGIONS[-1][1])


def main() -> None:
    """Write every picture."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    rng = np.random.default_rng(0)
    train = [labelled(length, LABEL_ERROR * rng.normal()) for length in LABELLED]
    with mpl.rc_context(STYLE):
        potential = fitted(train)
        figures = {
            "parts": draw_parts(potential, train),
            "novelty": draw_novelty(potential),
            "draws": draw_draws(potential),
            "copies": draw_copies(potential),
            "conformal": draw_conformal(potential),
        }
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()

"""The simulation engines around a potential."""

from benchmarks.shared.registry import Measurement

MEASUREMENTS = {
    "lammps_scaling": Measurement("LAMMPS: time per step against atoms and ranks, ghosts, bytes between ranks"),
    "pair_styles": Measurement("LAMMPS: the plugin beside SNAP, the way without a compiler, and the calculator"),
    "metatomic_cost": Measurement("a file for metatomic beside kernpot's calculator"),
    "cluster": Measurement("a fit on one process, on two, and on a Dask cluster"),
    "path_integrals": Measurement("i-PI: where deuterium goes in ethanol, with intervals"),
}

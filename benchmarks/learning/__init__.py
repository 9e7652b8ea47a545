"""Which structures to learn, and learning on the fly."""

from benchmarks.shared.registry import Measurement

MEASUREMENTS = {
    "selection": Measurement("test errors against the number of structures, chosen by select and at random"),
    "oracles": Measurement("what a worker process adds to a calculator"),
    "on_the_fly_ethanol": Measurement("labels that an on-the-fly run needs, against random choice"),
    "on_the_fly_silicon": Measurement("silicon heated to 2000 K with Quantum ESPRESSO asked on the way"),
    "long_run": Measurement("100 ps with a potential learnt on the fly: is every failure flagged?"),
}

"""Time and memory, beside GAP where it is installed, and where they go."""

from benchmarks.shared.registry import Measurement

MEASUREMENTS = {
    "all": Measurement("all the measurements from here to device, each in a process of its own", "beside"),
    "fit": Measurement("CPU time, peak memory and test errors of a fit and of gap_fit", "beside", ("fit",)),
    "mean": Measurement("energy, forces and stress through the ASE calculators", "beside", ("mean",)),
    "std": Measurement("every mean and standard deviation, beside GAP's mean", "beside", ("std",)),
    "size": Measurement("a mean of 97,336 atoms: peak memory, time per atom against 4,096", "beside", ("size",)),
    "threads": Measurement("wall time with two threads against one", "beside", ("threads",)),
    "memory": Measurement("peak memory of fits of 200 and of 2000 structures", "beside", ("memory",)),
    "stages": Measurement(
        "stages of a mean, of a std and of a fit beside the least time the machine could take", "beside", ("stages",)
    ),
    "device": Measurement("an accelerator; skipped with a reason", "beside", ("device",)),
    "fit_sizes": Measurement("CPU time and memory of fits of 200 to 10,000 structures, and of M from 1000 to 10,000"),
    "updates": Measurement("CPU time of partial_fit and add_inducing, beside making all rows anew"),
    "projection": Measurement("left-out errors and CPU time of the fit against n_components"),
    "repeats": Measurement("searches, descriptions and predictions that are made, to see that none is made twice"),
    "two_ways": Measurement("error bars of the whole posterior and of shared draws, beside the mean"),
    "draws": Measurement("CPU time of 1, 20 and 64 draws evaluated together, beside the mean and predict_full"),
}

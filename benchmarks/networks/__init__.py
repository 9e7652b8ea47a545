"""Neural networks, and both backends beside each other."""

from benchmarks.shared.registry import Measurement

MEASUREMENTS = {
    "settings": Measurement("chooses settings of the networks by a split of the training part"),
    "accuracy": Measurement("fits eight networks with the chosen settings and opens the test part once"),
    "cost": Measurement("an epoch, a mean, and a prediction with error bars, for one to sixteen networks"),
    "compare": Measurement("both backends on the same splits: errors, coverage, ROC curves, derived quantities, cost"),
}

"""Whether error bars hold what they promise, and find what is wrong."""

from benchmarks.shared.registry import Measurement

MEASUREMENTS = {
    "coverage": Measurement("coverage of 90 % intervals on data unlike the training data"),
    "networks": Measurement("the same of networks"),
    "scans": Measurement("pictures of error bars along bond scans, compression and heating, exactly and by draws"),
    "derived": Measurement("how often intervals of derived properties hold the DFT value, for each way of drawing"),
    "detection": Measurement("ROC curves: which number finds bad forces on structures of a kind left out"),
    "metals": Measurement("how often intervals of a metal's properties hold EMT's, from small training sets"),
    "gate": Measurement("cost of the uncertainty gate, what its screen lets through, missed failures and false alarms"),
}

"""Accuracy on published splits, with few structures, and of derivatives."""

from benchmarks.shared.registry import Measurement

MEASUREMENTS = {
    "settings": Measurement("chooses settings on the training part, by closed-form leave-one-structure-out errors"),
    "accuracy": Measurement("fits with the chosen settings and opens the test part once"),
    "defaults": Measurement("fits with no settings at all and opens the test part once"),
    "curves": Measurement("test errors with no settings against the number of training structures"),
    "ideas": Measurement("changes one setting at a time, by errors on structures left out of the training part"),
    "searched": Measurement("hyperparameters found with fewer inducing environments, beside those found with all"),
    "few_structures": Measurement("fits to 5 to 80 structures, with and without environments of displaced copies"),
    "physics": Measurement("derivatives against differences, energy conservation, smoothness through the cutoff"),
}

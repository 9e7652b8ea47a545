"""What becomes of inputs that are wrong, and whether right ones are left alone."""

from benchmarks.shared.registry import Measurement

MEASUREMENTS = {
    "told": Measurement("which wrong inputs are refused, warned of, read right, or go in without a word"),
    "slopes": Measurement("slopes of labels on what the other kinds say, on right sets: published and carried ones"),
}

"""What the benchmarks share: data sets, systems, clocks, the machine, results, the command line, smoke runs."""

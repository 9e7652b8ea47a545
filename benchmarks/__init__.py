"""What kernpot can do, measured: a folder a subject, with the scripts that measure, their results and their tables.

``python -m benchmarks`` lists the subjects and what is measured in each; see `__main__`.
"""

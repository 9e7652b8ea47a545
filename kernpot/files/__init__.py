"""The model file: container, parts that files of every kind have, the labelled structures behind a model."""

from kernpot.files.container import load

__all__ = ["load"]

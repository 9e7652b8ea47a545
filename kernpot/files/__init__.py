"""The model file: container, parts that files of every kind have, the labelled structures behind a model."""

"""From labelled structures to a fitted model."""

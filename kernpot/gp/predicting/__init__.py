"""From a fitted model to answers."""

"""Which environments span the model."""

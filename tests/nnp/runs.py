"""A training of its own with a checkpoint, for tests that kill it."""

from __future__ import annotations

import sys
from pathlib import Path

from kernpot import NNPEnsemble
from tests.helpers.systems import crystals
from tests.nnp.small import estimator


def ensemble(folder: Path, epochs: int = 120) -> NNPEnsemble:
    return estimator(max_epochs=epochs, checkpoint=folder / "training.kernpot", resample="bootstrap")


if __name__ == "__main__":
    given = Path(sys.argv[1])
    ensemble(given).fit(crystals(20, 1)).save(given / "model.kernpot")

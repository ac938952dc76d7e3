"""A toy task that stands still in the middle of an epoch, for tests that end its process there."""

import os
import time
from pathlib import Path

from tests.training.toy import ToyTask


class HeldTask(ToyTask):
    """With seed 1, waits at its seventh training batch as long as the file named in HOLD is there.

    Only the first process of a run waits; the others wait for it in the step's exchange of
    gradients. When it waits there is a file `<HOLD>.held`.
    """

    batches = 0

    def setup(self, stage=None):
        super().setup(stage)
        first = os.environ.get("LOCAL_RANK", "0") == "0"
        if first and "HOLD" in os.environ and os.environ["PL_GLOBAL_SEED"] == "1":
            self.datasets["train"].transform = self._hold

    def _hold(self, x, y):
        self.batches += 1
        hold = Path(os.environ["HOLD"])
        if self.batches == 7:
            hold.with_suffix(".held").touch()
            while hold.exists():
                time.sleep(0.02)
        return x, y

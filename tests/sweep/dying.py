"""A toy task whose process is gone without a word: what a kernel does that runs out of memory."""

import os
import signal

from tests.training.toy import ToyTask


class DyingTask(ToyTask):
    """Dies where the noise is 9."""

    def setup(self, stage=None):
        if self.noise == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        super().setup(stage)

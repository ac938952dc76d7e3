"""`outputs/epochs.csv`: the figure a run was judged by, after each epoch of each collected run.

Columns: `run` (as in results.csv), `metric`, `epoch` counted from 1, `value`. The metric is of the
test set (`test/...`) where a protocol chooses the epoch on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from snnexp.report.atomic import replacing
from snnexp.report.history import HISTORY, per_epoch, read_history
from snnexp.report.record import RecordError, Result

EPOCHS = "epochs.csv"
COLUMNS = ("run", "metric", "epoch", "value")


def epochs_of(folder: Path, result: Result) -> pd.DataFrame:
    """Return the rows of one run, none where it ended before its first epoch did.

    Raises RecordError where its history is no table.
    """
    monitor = result.metrics.monitor
    if not (folder / HISTORY).exists():
        return pd.DataFrame(columns=COLUMNS)
    # whatever set it is, the history calls it val: what an epoch is followed by
    values = per_epoch(read_history(folder), f"val/{monitor.split('/', 1)[-1]}")
    return pd.DataFrame(
        {"run": result.id, "metric": monitor, "epoch": values.index + 1, "value": values.to_numpy()}
    )


def write_epochs(file: Path, found: Iterable[pd.DataFrame]) -> None:
    """Add rows to the file, in place of those of the same runs; RecordError if it is another's."""
    new = [rows for rows in found if len(rows)]
    if not new:
        return
    added = pd.concat(new)
    if file.exists():
        old = pd.read_csv(file)
        if tuple(old.columns) != COLUMNS:
            raise RecordError(
                f"{file}: columns {', '.join(old.columns)}, expected {', '.join(COLUMNS)}; it is "
                "left as it is: move it away and collect again"
            )
        added = pd.concat([old[~old["run"].isin(added["run"])], added])
    with replacing(file) as temporary:
        added.sort_values(["run", "epoch"]).to_csv(temporary, index=False)

"""`metrics.csv` of a run: columns `epoch`, `step`, and one a metric.

One row an epoch, or, as Lightning's CSVLogger writes it, several with empty fields.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from snnexp.report.record import RecordError

HISTORY = "metrics.csv"


def read_history(folder: Path) -> pd.DataFrame:
    """Return the rows of a run's history.

    Raises RecordError where there is no history or the file is no such table.
    """
    file = folder / HISTORY
    try:
        rows = pd.read_csv(file)
    except FileNotFoundError:
        raise RecordError(f"{file}: no such file; a run writes it after its first epoch") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise RecordError(f"{file}: not a table: {error}") from None
    if missing := {"epoch", "step"} - set(rows.columns):
        raise RecordError(f"{file}: no column {', '.join(sorted(missing))}")
    return rows


def per_epoch(history: pd.DataFrame, key: str) -> pd.Series:
    """Return the last value of a metric in each epoch, indexed by epoch; empty if never logged."""
    if key not in history:
        return pd.Series(dtype=float)
    logged = history.dropna(subset=[key, "epoch"])
    return logged.groupby(logged["epoch"].astype(int))[key].last()

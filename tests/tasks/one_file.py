"""Inputs of single files, by a task that knows a run's spec and constants and no data set."""

from snnexp.training.checkpoint import read_task, save_task


def taken_up(task, fresh, folder):
    """Give `fresh`, which was never set up, what a run of `task` keeps in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_task(task, folder)
    fresh.restore(*read_task(folder))
    assert not fresh.datasets
    return fresh

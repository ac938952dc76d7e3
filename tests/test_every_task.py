"""What every task folder must hold, found by looking; their data are tested in tests/tasks."""

import inspect
import re
from pathlib import Path

import pytest

from snnexp.config.compose import CONFIG_DIR, compose_config
from snnexp.config.validate import locate
from snnexp.data.base import TaskDataModule

ROOT = Path(__file__).parents[1]
TASKS = sorted(p.name for p in (ROOT / "tasks").iterdir() if (p / "datamodule.py").is_file())
YAMLS = sorted(p.stem for p in (CONFIG_DIR / "task").glob("*.yaml"))


def test_every_folder_is_a_task():
    folders = {p.name for p in (ROOT / "tasks").iterdir() if p.is_dir()} - {"__pycache__"}
    assert folders == set(TASKS)


@pytest.mark.parametrize("yaml", YAMLS)
def test_a_yaml_names_a_task_and_passes_the_run_on(yaml):
    node = compose_config([f"task={yaml}", "data_dir=there", "cache_dir=here"]).task
    cls = locate(node._target_)
    assert issubclass(cls, TaskDataModule)
    assert node._target_.split(".")[1] in TASKS
    assert (node.data, node.data_dir, node.cache_dir) == ("sample", "there", "here")


@pytest.mark.parametrize("task", TASKS)
def test_a_task_has_a_yaml_a_readme_and_tests(task):
    assert task in YAMLS
    readme = (ROOT / "tasks" / task / "README.md").read_text()
    for word in ("licen[cs]e", "layout|on disk|files|folder", "split", "sample"):
        assert re.search(word, readme, re.IGNORECASE), f"tasks/{task}/README.md says no {word}"
    assert list((ROOT / "tests" / "tasks" / task).glob("test_*.py"))


@pytest.mark.parametrize("task", TASKS)
def test_a_task_reports_its_data_and_baselines(task):
    cls = locate(compose_config([f"task={task}"]).task._target_)
    for method in ("report", "baselines", "prepare_data", "setup"):
        own = inspect.getattr_static(cls, method)
        assert own is not inspect.getattr_static(TaskDataModule, method), f"{task} has no {method}"

import re
import subprocess
import sys
from typing import Any

import pytest

from snnexp.report.folder import LAST_CHECKPOINT, RunFolder, config_hash
from snnexp.report.record import RecordError
from tests.report.conftest import make_result

CONFIG: dict[str, Any] = {
    "seed": 0,
    "data_dir": "data",
    "cache_dir": ".cache",
    "output_dir": "outputs",
    "resume": None,
    "logger": {},
    "paper": None,
    "task": {"data_dir": "data", "cache_dir": ".cache", "num_workers": 0, "batch_size": 64},
    "model": {"channels": [64, 64], "alpha": 10.0},
    "callbacks": {"progress": {"style": "auto"}, "finite": {"every": 1}},
}


def changed(path, value):
    config = {k: dict(v) if isinstance(v, dict) else v for k, v in CONFIG.items()}
    *parents, key = path.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    node[key] = value
    return config


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data_dir", "/elsewhere"),
        ("task.data_dir", "/elsewhere"),
        ("task.cache_dir", "/elsewhere"),
        ("task.num_workers", 8),
        ("output_dir", "/elsewhere"),
        ("resume", "auto"),
        ("logger", {"csv": {"_target_": "x"}}),
        ("name", "renamed"),
        ("paper", {"claimed": 0.9}),
        ("callbacks.progress", {"style": "none"}),
        ("model.alpha", 10),
        ("model.channels", (64, 64)),
    ],
)
def test_hash_ignores_places_and_spelling(path, value):
    assert config_hash(changed(path, value)) == config_hash(CONFIG)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 1),
        ("task.batch_size", 32),
        ("model.channels", [64, 32]),
        ("model.alpha", 10.5),
        ("callbacks.finite", {"every": 2}),
        ("task.new", None),
    ],
)
def test_hash_sees_everything_else(path, value):
    assert config_hash(changed(path, value)) != config_hash(CONFIG)


def test_hash_of_a_setting_ignores_seed_and_fold_only():
    first, second = CONFIG, changed("seed", 7)
    assert config_hash(first, ignore_seed=True) == config_hash(second, ignore_seed=True)
    folds = [changed("task.fold", k) for k in (0, 1)]
    assert config_hash(folds[0]) != config_hash(folds[1])
    assert config_hash(folds[0], ignore_seed=True) == config_hash(folds[1], ignore_seed=True)
    following = [changed("task.seed", k) | {"seed": k} for k in (0, 7)]
    assert len({config_hash(c, ignore_seed=True) for c in (first, *following)}) == 1
    for path in ("model.alpha", "model.fold", "task.n_folds", "task.seed"):
        other = changed(path, 5)
        assert config_hash(first, ignore_seed=True) != config_hash(other, ignore_seed=True)


def test_hash_refuses_what_is_not_plain(tmp_path):
    with pytest.raises(TypeError, match="to_container"):
        config_hash({"model": {"path": tmp_path}})
    assert config_hash({"a": {"b": 1, "c": 2}}) == config_hash({"a": {"c": 2, "b": 1}})


def finish(folder, status, config=CONFIG, checkpoint=True):
    """Leave in a run's folder what a run of this end leaves, and let go of it."""
    result = make_result(config=dict(config), status=status, error="stopped", id=folder.id)
    result.write(folder.path)
    if checkpoint:
        folder.last_checkpoint.parent.mkdir(exist_ok=True)
        folder.last_checkpoint.write_bytes(b"weights")
    folder.release()


def test_folders_are_never_shared(tmp_path):
    folders = [RunFolder.create(tmp_path, "speech-conv_snn", 3, CONFIG) for _ in range(3)]
    assert len({f.path for f in folders}) == 3
    for folder in folders:
        assert folder.path.is_dir()
        assert folder.path.parent == tmp_path / "speech-conv_snn" / "seed3"
        assert folder.id == folder.path.relative_to(tmp_path).as_posix()
        stamp = rf"\d{{8}}T\d{{6}}Z-{config_hash(CONFIG)[:8]}(-\d+)?"
        assert re.fullmatch(stamp, folder.path.name)
        assert not folder.resumed


def test_resume_takes_the_latest_unfinished_run_of_the_same_config(tmp_path):
    def resume(config=CONFIG):
        return RunFolder.resume(tmp_path, "run", 0, config)

    assert resume() is None
    for status, config, checkpoint in (
        ("interrupted", CONFIG, True),
        ("failed", CONFIG, True),  # the one to take
        ("complete", CONFIG, True),
        ("interrupted", CONFIG, False),
        ("running", changed("model.alpha", 1.0), True),
    ):
        folder = RunFolder.create(tmp_path, "run", 0, config)
        finish(folder, status, config, checkpoint)
        # names hold seconds: keep the order of making
        stamp = f"2026010{len(list(folder.path.parent.iterdir()))}"
        folder.path.rename(folder.path.with_name(stamp + folder.path.name[8:]))
    moved = changed("task.data_dir", "/elsewhere")
    found = resume(moved)
    assert found is not None
    assert found.resumed
    assert found.path.name.startswith("20260102")
    assert found.last_checkpoint == found.path / LAST_CHECKPOINT
    # it is held now: the next one takes the earlier run
    second = resume()
    assert second is not None
    assert second.path.name.startswith("20260101")
    assert resume() is None
    found.release()
    again = resume()
    assert again is not None
    assert again.path == found.path


def test_a_killed_run_is_free_to_be_resumed(tmp_path):
    script = (
        "import sys, time; from pathlib import Path\n"
        "from tests.report.test_folder import *\n"
        "folder = RunFolder.create(Path(sys.argv[1]), 'run', 0, CONFIG)\n"
        "lock = folder._lock; finish(folder, 'running'); lock.acquire()\n"
        "print('go', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"go\n"
    assert RunFolder.resume(tmp_path, "run", 0, CONFIG) is None
    process.kill()
    process.communicate()
    assert RunFolder.resume(tmp_path, "run", 0, CONFIG) is not None


def test_errors(tmp_path):
    with pytest.raises(RecordError, match="run name 'a/b'"):
        RunFolder.create(tmp_path, "a/b", 0, CONFIG)
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(RecordError, match="cannot be made below"):
        RunFolder.create(tmp_path, "taken", 0, CONFIG)

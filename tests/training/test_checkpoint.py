"""Checkpoints are data: a malicious one is refused unrun, a damaged one is named."""

import os
import pickle
import zipfile

import pytest
import torch

from snnexp.training.checkpoint import (
    BEST,
    LAST,
    TASK,
    CheckpointError,
    read_checkpoint,
    read_task,
    restore_weights,
    save_task,
)
from snnexp.training.module import CheckpointMismatchError
from tests.training.toy import toy_module, toy_task


class Attack:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_it_holds_the_weights(finished):
    content = read_checkpoint(finished / BEST)
    module = toy_module(toy_task(), seed=9)
    restore_weights(module, finished / BEST)
    for key, value in module.state_dict().items():
        torch.testing.assert_close(value, content["state_dict"][key], rtol=0, atol=0)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_checkpoint_that_would_run_a_command_is_refused_and_not_run(taken, tmp_path, legacy):
    mark = tmp_path / "ran"
    content = {"state_dict": {}, "more": Attack(mark)}
    if legacy:
        (taken / BEST).write_bytes(pickle.dumps(content, 2))
    else:
        torch.save(content, taken / BEST)
    with pytest.raises(CheckpointError, match=r"best\.ckpt was refused") as refusal:
        read_checkpoint(taken / BEST)
    assert "system" in str(refusal.value)
    assert not mark.exists()
    # it is a real attack
    if legacy:
        pickle.loads((taken / BEST).read_bytes())
    else:
        torch.load(taken / BEST, weights_only=False)
    assert mark.exists()


def test_a_whole_module_in_a_checkpoint_is_refused(tmp_path):
    torch.save({"state_dict": {}, "model": torch.nn.Linear(2, 2)}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"refused.*torch\.nn\.modules\.linear\.Linear"):
        read_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize("kept", [0, 10, 1000, 0.5, 0.999])
def test_a_checkpoint_that_is_cut_short_is_named_and_the_other_suggested(taken, kept):
    whole = (taken / BEST).read_bytes()
    (taken / BEST).write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(CheckpointError, match=r"best\.ckpt is damaged") as error:
        read_checkpoint(taken / BEST)
    assert "checkpoint=last" in str(error.value)
    assert str(taken / LAST) in str(error.value)


def test_noise_is_no_checkpoint(tmp_path):
    path = tmp_path / "a.ckpt"
    for content in (b"not a checkpoint", bytes(2000), os.urandom(500)):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"a\.ckpt"):
            read_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="no state_dict"):
        read_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(CheckpointError, match=r"a\.ckpt"):
        read_checkpoint(path)


def test_a_missing_checkpoint_is_named_and_the_other_suggested(taken):
    (taken / LAST).unlink()
    with pytest.raises(CheckpointError, match=r"last\.ckpt: no such.*checkpoint=best"):
        read_checkpoint(taken / LAST)


def test_weights_of_another_network_are_refused(finished, tmp_path):
    content = read_checkpoint(finished / BEST)
    content["state_dict"]["model.convs.0.weight"] = torch.zeros(7, 2, 3, 3)
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointMismatchError, match=r"convs\.0\.weight"):
        restore_weights(toy_module(toy_task()), tmp_path / "other.ckpt")


def test_spec_and_constants_of_a_task_come_back(tmp_path):
    task = toy_task()
    task.scale = 2.5
    save_task(task, tmp_path)
    assert read_task(tmp_path) == (task.spec, {"scale": 2.5})
    (tmp_path / TASK).write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"task\.pt"):
        read_task(tmp_path)
    (tmp_path / TASK).unlink()
    assert read_task(tmp_path) is None


def test_a_task_file_that_would_run_a_command_is_refused(tmp_path):
    torch.save({"spec": Attack(tmp_path / "ran"), "state": {}}, tmp_path / TASK)
    with pytest.raises(CheckpointError, match="refused"):
        read_task(tmp_path)
    assert not (tmp_path / "ran").exists()

"""Checkpoints read as data, never as code; and the constants of a task that go with them."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from snnexp.data.base import TaskDataModule, TaskSpec
from snnexp.report.atomic import replacing
from snnexp.training.module import SNNModule
from snnexp.training.sharding import load_weights

#: beside config.yaml in a run's folder: what prediction on a new file needs besides weights
TASK = "task.pt"
BEST, LAST = Path("checkpoints", "best.ckpt"), Path("checkpoints", "last.ckpt")


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names it and, where there is one, another."""


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return the content of a checkpoint: tensors, numbers, text and containers of them.

    torch's restricted unpickler reads it; whatever else a file asks to be called is refused
    before it is called. Raises CheckpointError: no such file, cut short, refused, no checkpoint.
    """
    content = _load(path, device)
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise CheckpointError(f"{path} is no checkpoint of a run: it has no state_dict")
    return content


def _load(path: Path, device: torch.device | str) -> Any:
    try:
        with warnings.catch_warnings():
            # of other pickle protocols: what can be read is read, the rest is refused below
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint.{_another(path)}") from None
    except pickle.UnpicklingError as error:
        # torch's message goes on for a page, and advises to switch the check off
        if asked := re.search(r"GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                f"{path} was refused: beside weights it asks for {asked[1]}, to build an object "
                "or to run a command. Nothing of it was run. A checkpoint of snnexp holds numbers, "
                "text and tensors alone; save the weights of this file so if you trust its origin"
            ) from None
        reason = str(error).split("error:")[-1].strip().split("\n")[0]
        raise CheckpointError(
            f"{path} is damaged, or no checkpoint ({reason}).{_another(path)}"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, UnicodeDecodeError) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"{path} is damaged or cut short ({reason}).{_another(path)}"
        ) from error


def _another(path: Path) -> str:
    """Name the run's other checkpoint, if there is one."""
    name = "last" if path.name == BEST.name else "best"
    other = path.with_name(f"{name}.ckpt")
    if other == path or not other.is_file():
        return ""
    return f" The run has another one: {other} (checkpoint={name})"


def restore_weights(module: SNNModule, path: Path) -> dict[str, Any]:
    """Give `module` the weights of a checkpoint; return the checkpoint.

    Raises CheckpointError, and CheckpointMismatchError for weights of another model.
    """
    content = read_checkpoint(path, module.device)
    module.on_load_checkpoint(content)
    load_weights(module, content["state_dict"])
    return content


def sha256(path: Path) -> str:
    """Return the hash of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_task(task: TaskDataModule, folder: Path) -> Path:
    """Write the spec and the constants of a task, fitted on its training set, beside a run."""
    path = folder / TASK
    with replacing(path) as temporary:
        torch.save({"spec": asdict(task.spec), "state": task.state()}, temporary)
    return path


def read_task(folder: Path) -> tuple[TaskSpec, dict[str, Any]] | None:
    """Return what `save_task` wrote; None for a run of a version that wrote nothing."""
    path = folder / TASK
    if not path.is_file():
        return None
    content = _load(path, "cpu")
    try:
        spec = content["spec"]
        spec |= {key: tuple(spec[key]) for key in ("step_shape", "classes")}
        return TaskSpec(**spec), dict(content["state"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is no record of a task ({error!r})") from None

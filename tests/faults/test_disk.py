"""Disks that are full or not to be written, damaged files: said plainly, and nothing is lost."""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from snnexp.process import answering
from snnexp.report.folder import LAST_CHECKPOINT, RunFolder
from snnexp.report.record import RESULT, RecordError, read_result
from snnexp.training.run_checkpoint import check_sums
from tests.faults.nursery import at, child, command_line, nursery, quiet_run
from tests.report.conftest import make_result

RUN = ("task=traffic", "model=fc_snn", "callbacks.progress.style=none")


def fill():
    """No file grows beyond 100 bytes from now on, as on a full disk (EFBIG instead of ENOSPC)."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def fills_up(root):
    # the first epoch's table is opened, synced, renamed, and its temporary name removed
    at(root, 5, fill, "metrics")
    try:
        return quiet_run(root)
    except RecordError as error:
        return [str(error), *getattr(error, "__notes__", ())]


def full_disk(folder):
    root = Path(folder)
    whole = child(lambda: quiet_run(root / "whole"))
    said = child(lambda: fills_up(root / "full"))
    states = [read_result(p).status for p in root.glob("full/*/*/*/*/result.json")]
    end = child(lambda: quiet_run(root / "full", "resume=auto"))
    print(json.dumps({"whole": whole, "said": said, "states": states, "end": end}))


def test_a_run_goes_on_after_its_disk_was_full(tmp_path):
    found = nursery(__name__, "full_disk", tmp_path)
    what, *notes = found["said"]
    assert "metrics.csv could not be written: File too large" in what
    assert "resume=auto" in what
    assert any(f"{RESULT} could not be written" in note for note in notes)
    assert found["states"] == ["running"], "its end could not be written"
    assert found["end"] == found["whole"]
    (record,) = (tmp_path / "full").glob("runs/*/*/*/result.json")
    assert read_result(record).status == "complete"
    assert not list(record.parent.rglob("*.tmp*"))


def unfinished(root, words):
    """Leave in `root` the folder of an unfinished run of this command; return it."""
    from omegaconf import OmegaConf

    from snnexp.config.compose import compose_config
    from snnexp.config.validate import validate

    cfg = validate(compose_config([*words, f"output_dir={root}"]))
    config = OmegaConf.to_container(cfg)
    folder = RunFolder.create(Path(root, "runs"), cfg.name, cfg.seed, config)
    make_result(config=config, status="interrupted", error="cut", id=folder.id).write(folder.path)
    folder.last_checkpoint.parent.mkdir()
    torch.save({"state_dict": {}}, folder.last_checkpoint)
    folder.release()
    return folder.path


def damaged(folder):
    """What the command line says of a place it cannot write to and of damaged files."""
    root = Path(folder)
    (root / "file").write_text("no folder")
    said = {"below a file": child(lambda: command_line(*RUN, f"output_dir={root}/file"))}

    def resumed(name, spoil):
        path = unfinished(root / name, RUN)
        spoil(path)
        words = (*RUN, f"output_dir={root / name}", "resume=auto")
        said[name] = child(lambda: command_line(*words))

    def halve(path):
        os.truncate(path, path.stat().st_size // 2)

    def age(path):
        record = json.loads((path / RESULT).read_text())
        (path / RESULT).write_text(json.dumps(record | {"schema_version": 0}))

    resumed("half a checkpoint", lambda path: halve(path / LAST_CHECKPOINT))
    resumed("half a record", lambda path: halve(path / RESULT))
    resumed("an old record", age)
    print(json.dumps(said))


def test_the_command_line_says_plainly_what_is_damaged(tmp_path):
    said = nursery(__name__, "damaged", tmp_path)
    expected = {
        "below a file": "folder cannot be made below",
        "half a checkpoint": "last.ckpt is damaged",
        "half a record": "result.json: not a JSON file",
        "an old record": "schema_version is 0",
    }
    assert said.keys() == expected.keys()
    for name, (status, text) in said.items():
        assert status == 2, (name, text)
        assert expected[name] in text, (name, text)
        assert "Traceback" not in text, (name, text)
    for name in ("half a record", "an old record"):
        assert "resume=null" in said[name][1]
    for name in expected.keys() - {"below a file"}:
        assert len(list(tmp_path.glob(f"{name}/runs/*/*/*"))) == 1, "no second run beside it"


@pytest.mark.parametrize("spoil", ["half", "one byte", "text", "none"])
def test_checkpoints_are_known_to_be_whole_by_their_checksums(tmp_path, spoil):
    path = tmp_path / "last.ckpt"
    torch.save({"w": torch.randn(1000)}, path)
    whole = path.read_bytes()
    check_sums(path)
    middle = len(whole) // 2
    changed = {
        "half": whole[:middle],
        "one byte": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "text": b"no checkpoint",
    }
    if spoil == "none":
        path.unlink()
        with pytest.raises(RecordError, match="there is no checkpoint file"):
            check_sums(path)
        return
    path.write_bytes(changed[spoil])
    with pytest.raises(RecordError, match=r"last\.ckpt is damaged .*resume=null"):
        check_sums(path)


def test_a_folder_without_permission_is_named(tmp_path):
    # root may write anywhere: another user tries
    code = (
        "import os, sys; from pathlib import Path; from snnexp.report.folder import RunFolder\n"
        "os.setuid(65534) if os.getuid() == 0 else None\n"
        "try: RunFolder.create(Path(sys.argv[1]), 'run', 0, {'seed': 0})\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    tmp_path.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=120
        )
    finally:
        tmp_path.chmod(0o755)
    assert done.stdout.startswith("RecordError the run's folder cannot be made below"), done
    assert "Permission denied" in done.stdout


def fails(code):
    raise OSError(code, os.strerror(code), "a file")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_commands_on_a_run_say_that_the_disk_is_full_or_read_only(capsys, code):
    with pytest.raises(SystemExit) as end, answering():
        fails(code)
    assert end.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(f"error: a file: {os.strerror(code)}. Free some space")


def test_other_errors_of_files_keep_their_traceback():
    with pytest.raises(FileNotFoundError), answering():
        fails(errno.ENOENT)

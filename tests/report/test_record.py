import json
import math
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from snnexp.report.atomic import replacing
from snnexp.report.collect import collect
from snnexp.report.folder import LAST_CHECKPOINT, RunFolder
from snnexp.report.record import RESULT, RecordError, read_paper, read_result, recording
from tests.report.conftest import PAPER, make_result


def test_what_is_written_is_read(tmp_path):
    result = make_result(paper=PAPER, figures=["figures/curves.png"])
    result.write(tmp_path)
    assert read_result(tmp_path) == result
    assert read_result(tmp_path / RESULT) == result


def test_numbers_that_json_does_not_know_survive(tmp_path):
    result = make_result()
    result.metrics.last = {"test/loss": math.nan, "test/other": -math.inf}
    result.write(tmp_path)
    text = (tmp_path / RESULT).read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    last = read_result(tmp_path).metrics.last
    assert math.isnan(last["test/loss"])
    assert last["test/other"] == -math.inf


def test_a_record_is_validated_before_it_is_written(tmp_path):
    result = make_result()
    with pytest.raises(ValidationError, match="baselines"):
        result.baselines = {"chance": "one in eight"}  # type: ignore[dict-item] # the point
    result.baselines["chance"] = "one in eight"  # type: ignore[assignment] # seen only by write
    with pytest.raises(ValidationError, match=r"baselines\.chance"):
        result.write(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValidationError, match="seeds"):
        make_result(seeds={"seed": 5})
    confusion = result.confusion
    assert confusion is not None
    with pytest.raises(ValidationError, match="8 x 8"):
        confusion.counts = confusion.counts[1:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(schema_version=0), "schema_version is 0, this code reads 1"),
        (lambda c: c.update(schema_version=2), "schema_version is 2, this code reads 1"),
        (lambda c: c.pop("schema_version"), "schema_version is None"),
        (lambda c: c.pop("config"), "config: Field required"),
        (lambda c: c.update(colour="red"), "colour: Extra inputs"),
        (lambda c: c["firing"]["total"].update(dead=1.5), r"firing\.total\.dead"),
        (lambda c: c.update(status="done"), "status: Input should be"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_field(tmp_path, change, message):
    path = make_result().write(tmp_path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match=message) as error:
        read_result(tmp_path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("version", [0, 2])
def test_a_record_of_another_version_is_left_as_it_is(tmp_path, version):
    runs, csv = tmp_path / "runs", tmp_path / "results.csv"
    result = make_result(status="interrupted")
    folder = runs / result.id
    folder.mkdir(parents=True)
    path = result.write(folder)
    path.write_text(path.read_text().replace('"schema_version": 1', f'"schema_version": {version}'))
    (folder / LAST_CHECKPOINT).parent.mkdir()
    (folder / LAST_CHECKPOINT).touch()
    before = path.read_bytes()
    refused = f"schema_version is {version}, this code reads 1; read it with the snnexp version"
    with pytest.raises(RecordError, match=refused), recording(make_result(), folder):
        pytest.fail("the block must not run")
    with pytest.raises(RecordError, match=refused):
        RunFolder.resume(runs, result.name, result.seed, result.config)
    assert refused in collect([path], csv).problems[0]
    assert path.read_bytes() == before


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(RecordError, match="no such file"):
        read_result(tmp_path)
    path = make_result().write(tmp_path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(RecordError, match="not a JSON file"):
        read_result(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="not a JSON file"):
        read_result(tmp_path)
    path.write_text("[]")
    with pytest.raises(RecordError, match="schema_version is None"):
        read_result(tmp_path)


def test_paper_block_names_what_is_wrong():
    assert read_paper(PAPER).claimed == 0.945
    block = {k: v for k, v in PAPER.items() if k != "table"}
    with pytest.raises(RecordError, match=r"table: Field required.*protocol"):
        read_paper(block | {"protocol": "lenient"})


def test_recording_a_run_that_completes(tmp_path):
    result = make_result(status="running", ended=None, wall_s=0)
    with recording(result, tmp_path):
        during = read_result(tmp_path)
        assert during.status == "running"
        assert during.ended is None
        time.sleep(0.02)
        result.metrics.last = {"test/acc": 0.5}
    after = read_result(tmp_path)
    assert after.status == "complete"
    assert after.metrics.last == {"test/acc": 0.5}
    assert after.wall_s >= 0.02
    assert after.ended is not None
    assert after.ended > after.started


@pytest.mark.parametrize(
    ("raised", "status", "text"),
    [
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (SystemExit(143), "interrupted", "SystemExit: 143"),
        (RuntimeError("the loss is NaN"), "failed", "RuntimeError: the loss is NaN"),
    ],
)
def test_recording_a_run_that_does_not(tmp_path, raised, status, text):
    result = make_result()
    with pytest.raises(type(raised)), recording(result, tmp_path):
        raise raised
    after = read_result(tmp_path)
    assert after.status == status
    assert after.error is not None
    assert after.error.splitlines()[-1] == text
    assert after.ended is not None


def test_recording_a_resumed_run_keeps_start_and_adds_time(tmp_path):
    with recording(make_result(wall_s=0), tmp_path):
        time.sleep(0.02)
    first = read_result(tmp_path)
    again = make_result(wall_s=0, started=datetime.now(UTC))
    with recording(again, tmp_path):
        time.sleep(0.02)
    second = read_result(tmp_path)
    assert second.started == first.started
    assert second.resumes == 1
    assert second.wall_s > first.wall_s + 0.02
    assert second.status == "complete"
    assert second.error is None


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("old")

    def fill(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"), replacing(file) as temporary:
        fill(temporary)
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_a_process_killed_while_it_writes_never_leaves_half_a_record(tmp_path):
    make_result().write(tmp_path)
    script = (
        "import sys; from pathlib import Path; from snnexp.report.record import read_result\n"
        "folder = Path(sys.argv[1]); result = read_result(folder); print('go', flush=True)\n"
        "while True: result.write(folder)"
    )
    for wait in (0.0, 0.013, 0.029):
        writer = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(wait)
        writer.kill()
        writer.communicate()
        assert read_result(tmp_path).status == "complete"

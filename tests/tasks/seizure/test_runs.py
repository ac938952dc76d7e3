"""Whole runs from the words of a command line, on small samples: what is held out, and judged."""

import pytest

from snnexp.config.compose import compose_config
from snnexp.config.validate import validate
from snnexp.report.collect import rows_of
from snnexp.report.record import read_result
from snnexp.run import run
from tests.tasks.seizure.conftest import CLIPS, RECORDINGS

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:lightning", "ignore:.*deterministic.*:UserWarning"
)

SMALL = [
    "model=conv_snn",
    "model.channels=[4]",
    "model.kernels=[[3,3]]",
    "model.dilations=[[1,1]]",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "callbacks.progress.style=none",
]
CLIP_WORDS = [
    "task=seizure",
    "task.source.rate=128",
    "task.features.f_max=60",
    *(f"task.source.sample.{key}={value}".replace(" ", "") for key, value in vars(CLIPS).items()),
]
RECORDING_WORDS = [
    "task=seizure_chbmit",
    "task.features.nperseg=32",
    "task.features.noverlap=16",
    "task.features.f_max=30",
    "task.source.montage={channels:null,band:null,notch:null,rate:null}",
    *(f"task.source.sample.{key}={value}" for key, value in vars(RECORDINGS).items()),
]


def result_of(folder, *words):
    run(validate(compose_config([*SMALL, *words, f"output_dir={folder}", f"cache_dir={folder}"])))
    (path,) = folder.glob("runs/*/*/*/result.json")
    return read_result(path.parent), path.parent


@pytest.mark.parametrize(
    ("protocol", "fold", "folds"),
    [("leave_one_seizure_out", 3, 9), ("leave_one_patient_out", 2, 3)],
)
def test_a_seizure_or_a_patient_is_left_out(tmp_path, protocol, fold, folds):
    words = [*CLIP_WORDS, f"task.protocol={protocol}", f"task.fold={fold}"]
    result, _ = result_of(tmp_path, *words)
    assert result.status == "complete"
    assert {(row.fold, row.folds) for row in rows_of(result)} == {(fold, folds)}
    assert {"test/sensitivity", "test/specificity", "test/auc"} <= set(result.metrics.selected)
    assert {"chance", "line_length", "linear"} <= set(result.baselines)
    other = result.config | {"task": result.config["task"] | {"fold": 0}}
    again = rows_of(result.model_copy(update={"config": other}))
    assert again[0].setting == rows_of(result)[0].setting


def test_a_recording_is_judged_by_events_and_drawn(tmp_path):
    result, folder = result_of(
        tmp_path, *RECORDING_WORDS, "task.protocol=leave_one_seizure_out", "task.fold=0"
    )
    judged = {"events", "hours", "event_sensitivity", "false_alarms_per_hour"}
    for kind in ("", "linear_"):
        wanted = judged if not kind else {"event_sensitivity", "false_alarms_per_hour"}
        assert {f"test/{kind}{name}" for name in wanted} <= set(result.metrics.selected)
    assert result.metrics.selected["test/events"] >= 1
    drawn = [path for path in result.figures if path.endswith("test_recording.png")]
    assert drawn, result.figures
    assert all((folder / path).stat().st_size > 10_000 for path in drawn)
    assert result.data.fold == 0

from __future__ import annotations

import errno
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from snnexp.data.base import DataError, Part
from snnexp.data.download import Remote
from tasks.speech import source, store
from tasks.speech.datamodule import SpeechTask
from tasks.speech.words import CLASSES_12
from tests.tasks.one_file import taken_up

from .conftest import tone
from .test_audio import damage

Make = Callable[..., SpeechTask]


def ready(task: SpeechTask) -> SpeechTask:
    task.prepare_data()
    task.setup()
    return task


def test_batches_have_the_promised_shape(make: Make) -> None:
    task = ready(make())
    assert task.spec.step_shape == (3, 40)
    assert task.spec.n_steps == 101
    assert task.spec.dt == 0.01
    assert task.spec.classes == CLASSES_12
    batch = next(iter(task.val_dataloader()))
    assert batch["input"].shape == (8, 101, 3, 40)
    assert batch["input"].dtype == torch.float32
    assert batch["index"].tolist() == list(range(8))
    one = task.datasets["val"][3]
    torch.testing.assert_close(one["input"], batch["input"][3])
    assert one["target"] == batch["target"][3]


def test_sample_and_the_same_files_as_real_data_agree(make: Make) -> None:
    real, sample = ready(make()), ready(make(data="sample"))
    for split in ("train", "val", "test"):
        assert torch.equal(real.targets[split], sample.targets[split])
    assert torch.equal(real._logmel("train"), sample._logmel("train"))
    report = sample.report()
    assert report.variant == "sample"
    assert "9 synthetic voices" in report.source
    assert "data=real data_dir=" in report.real_data
    assert report.notes["speakers in two splits"] == 0
    assert sample.report().excerpt == ""
    assert "Google Speech Commands v0.02" in real.report().source
    assert real.report().excerpt == "108 of the 105,829 clips of Speech Commands v0.02"


def test_training_draws_each_class_equally_often_and_repeats(make: Make) -> None:
    task = ready(make(silence_train=10_000))
    loader = task.train_dataloader()
    epochs = [torch.cat([b["target"] for b in loader]) for _ in range(6)]
    assert len(epochs[0]) == len(task.targets["train"])
    shares = torch.bincount(torch.cat(epochs), minlength=12) / sum(map(len, epochs))
    assert shares.min() > 0.04
    first = torch.cat([b["index"] for b in task.train_dataloader()])
    assert torch.equal(first, torch.cat([b["index"] for b in task.train_dataloader()]))
    plain = torch.cat([b["index"] for b in ready(make(balanced=False)).train_dataloader()])
    assert sorted(plain.tolist()) == list(range(len(plain)))


def test_features_are_computed_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(make())

    def again(*args: object) -> None:
        raise AssertionError("the features were computed twice")

    monkeypatch.setattr(store, "write_features", again)
    ready(make(scaling="train"))
    with pytest.raises(AssertionError, match="twice"):
        ready(make(pad_mode="constant"))


def test_all_35_words(make: Make) -> None:
    task = make(classes=35)
    with pytest.raises(DataError, match="lacks the word folder"):
        task.prepare_data()
    with pytest.raises(DataError, match=r"task\.classes=35 needs the 35 words"):
        make(classes=35, version="v0.01")


def test_35_classes_have_no_silence(make: Make, own: Path) -> None:
    from tasks.speech.words import CLASSES_35

    speaker = "0000beef"
    for word in CLASSES_35:
        tone(own / word / f"{speaker}_nohash_0.wav")
    task = ready(make(classes=35, data_dir=str(own)))
    assert task.spec.classes == CLASSES_35
    assert len(task.targets["train"].unique()) == 35
    assert len(task.targets["train"]) == len(task._words_of("train"))


def test_the_test_archive_replaces_the_testing_list(make: Make, own: Path) -> None:
    archive = own.with_name("speech_commands_test_set_v0.02")
    for k, name in enumerate(CLASSES_12):
        tone(archive / name / "a.wav", seconds=0.2 + 0.05 * k)
    listed = ready(make(data_dir=str(own)))
    task = ready(make(data_dir=str(own.parents[1]), test_set="archive"))
    assert task.targets["test"].tolist() == list(range(12))
    assert torch.equal(task.targets["train"], listed.targets["train"])
    assert "separate test archive" in task.report().source
    shutil.rmtree(archive / "_silence_")
    with pytest.raises(DataError, match=r"_silence_ is missing or empty"):
        make(data_dir=str(own.parents[1]), test_set="archive").prepare_data()


def test_the_samples_list_stands_in_for_the_archive_it_has_not(make: Make) -> None:
    task, plain = ready(make(data="sample", test_set="archive")), ready(make(data="sample"))
    assert torch.equal(task.targets["test"], plain.targets["test"])
    assert "testing_list.txt in place of a separate test archive" in task.report().source
    assert "in place of" not in plain.report().source
    with pytest.raises(DataError, match=r"test_set=archive needs task\.classes=12"):
        make(test_set="archive", classes=35)


def test_no_data_and_no_network(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    official = source.ARCHIVES["v0.01"]
    offline = Remote(
        name=official.name,
        urls=("http://127.0.0.1:9/x.tar.gz",),
        checksum=official.checksum,
        title=official.title,
    )
    monkeypatch.setitem(source.ARCHIVES, "v0.01", offline)
    monkeypatch.setattr("snnexp.data.download.time.sleep", lambda _: None)
    with pytest.raises(DataError) as caught:
        make(data_dir=str(tmp_path / "empty"), version="v0.01").prepare_data()
    for part in ("v0.01 is not in data_dir=", "3cd23799cb2bbdec517f1cc028f8d43c", "SpeechCommands"):
        assert part in str(caught.value)


def test_the_official_addresses() -> None:
    assert source.ARCHIVES["v0.02"].urls[0] == (
        "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
    )
    assert source.TEST_ARCHIVES["v0.01"].urls[-1] == (
        "http://download.tensorflow.org/data/speech_commands_test_set_v0.01.tar.gz"
    )


def test_a_bad_clip_stops_the_run_or_is_counted(make: Make, own: Path) -> None:
    good = ready(make(data_dir=str(own)))
    clips = sorted((own / "yes").iterdir())[:2]
    damage(clips[0], "truncated")
    with pytest.raises(DataError, match=clips[0].name):
        make(data_dir=str(own)).prepare_data()
    assert not list(Path(good.cache_dir).rglob("*.tmp-*"))
    tone(own / "no" / "0000beef_nohash_0.wav", seconds=1, rate=44_100, channels=2)
    task = ready(make(data_dir=str(own), on_bad_file="skip"))
    notes = task.report().notes
    assert notes["files skipped"] == 1
    assert clips[0].name in str(notes["first file skipped"])
    assert notes["clips mixed down to mono"] == notes["clips resampled to 16 kHz"] == 1
    sizes, before = task.report().sizes, good.report().sizes
    assert sum(sizes.values()) == sum(before.values())
    assert len(task.datasets["train"]) == sizes["train"]  # type: ignore[arg-type]


def test_a_class_without_training_clips_is_named(make: Make, own: Path) -> None:
    listed = (own / "testing_list.txt").read_text()
    train = [f"yes/{p.name}\n" for p in (own / "yes").iterdir()]
    validation = (own / "validation_list.txt").read_text()
    fresh = [line for line in train if line not in listed and line not in validation]
    (own / "testing_list.txt").write_text(listed + "".join(fresh))
    with pytest.raises(DataError, match="no training clip of yes"):
        ready(make(data_dir=str(own)))


def test_an_unwritable_cache_is_named(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"speech features could not be written.*cache_dir="):
        make(cache_dir=str(tmp_path / "file")).prepare_data()


class FullDisk(io.FileIO):
    """Takes the first write only."""

    written = 0

    def write(self, data: Any) -> int:
        self.written += 1
        if self.written > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_a_disk_that_fills_leaves_no_half_cache(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = Path.open

    def almost_full(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if path.suffix == ".f32" and "w" in mode:
            return FullDisk(path, mode)
        return real_open(path, mode, *args, **kwargs)

    monkeypatch.setattr(store, "_CHUNK", 8)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", almost_full)
        with pytest.raises(DataError, match=r"speech features.*No space left.*Nothing half"):
            make().prepare_data()
    assert not list((tmp_path / "cache").rglob("*.f32"))
    ready(make())


def test_augmentation_changes_training_clips_only_and_repeats(make: Make) -> None:
    on = {"noise_prob": 1.0, "shift_ms": 100.0, "speed": 0.1, "time_masks": 1}
    plain, task = ready(make()), ready(make(augment=on))
    rows = [0, 5, 9]
    changed = task.datasets["train"].__getitems__(rows)["input"]  # type: ignore[attr-defined]
    assert changed.shape == (3, 101, 3, 40)
    assert not torch.allclose(changed, plain.datasets["train"].__getitems__(rows)["input"])  # type: ignore[attr-defined]
    torch.rand(5)
    again = task.datasets["train"].__getitems__(rows)["input"]  # type: ignore[attr-defined]
    assert torch.equal(changed, again)
    other = task.datasets["train"].__getitems__([0, 5, 8])["input"]  # type: ignore[attr-defined]
    assert not torch.equal(changed[:2], other[:2])
    for split in ("val", "test"):
        a = next(iter(task.loader(split)))["input"]
        assert torch.equal(a, next(iter(plain.loader(split)))["input"])


def test_an_augmentation_that_changes_nothing_gives_the_cached_features(make: Make) -> None:
    on = {"noise_prob": 1.0, "noise_snr": [200.0, 200.0]}
    plain, task = ready(make()), ready(make(augment=on))
    rows = list(range(8))
    a = task.datasets["train"].__getitems__(rows)["input"]  # type: ignore[attr-defined]
    b = plain.datasets["train"].__getitems__(rows)["input"]  # type: ignore[attr-defined]
    torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_baselines(make: Make) -> None:
    task = ready(make())
    figures = task.baselines()
    counts = torch.bincount(task.targets["test"])
    assert figures["chance"] == counts.max().item() / len(task.targets["test"])
    assert figures["uniform"] == 1 / 12
    assert figures["chance"] < figures["linear"] <= 1
    assert task.baselines() == figures


def test_the_state_names_what_prediction_needs(make: Make) -> None:
    task = ready(make(scaling="clip_and_train"))
    state = task.state()
    assert state["train_std"].shape == (3, 40)
    assert json.dumps([state["scaling"], state["pad_mode"]]) == '["clip_and_train", "reflect"]'


@pytest.mark.parametrize("scaling", ["clip", "clip_and_train", "train"])
def test_a_clip_alone_is_the_clip_of_the_data_set(
    make: Make, spoken: Path, tmp_path: Path, scaling: str
) -> None:
    task = ready(make(scaling=scaling))
    fresh = taken_up(task, make(scaling=scaling, data_dir="nowhere"), tmp_path / "run")
    for i in (0, 3):
        clip = task._index["test"]["paths"][i]
        (one,) = fresh.read_input(Path(clip))
        torch.testing.assert_close(one.input, task.datasets["test"][i]["input"])
        assert one.notes == ()


def test_a_long_recording_and_a_batch_wise_scaling_are_said(make: Make, tmp_path: Path) -> None:
    run = ready(make(scaling="clip_and_batch"))
    task = taken_up(run, make(scaling="clip_and_batch"), tmp_path / "run")
    long = tone(tmp_path / "long.wav", seconds=3.0, rate=8000, channels=2)
    (one,) = task.read_input(long)
    assert any("middle second" in note for note in one.notes)
    assert any("scaled alone" in note for note in one.notes)
    assert any("16 kHz" in note for note in one.notes)
    (last,) = task.read_input(long, Part(start=2.0))
    assert not any("middle second" in note for note in last.notes)
    for part in (Part(start=3.5), Part(stop=9.0)):
        with pytest.raises(DataError, match="lasts 3 s"):
            task.read_input(long, part)


def test_a_file_that_is_no_sound_is_named(make: Make, tmp_path: Path) -> None:
    task = taken_up(ready(make()), make(), tmp_path / "run")
    wave = tone(tmp_path / "a.wav")
    with pytest.raises(DataError, match=r"speech, reads \.wav, not \.png"):
        task.read_input(wave.rename(tmp_path / "a.png"))
    (tmp_path / "b.wav").write_bytes(b"no sound")
    with pytest.raises(DataError, match=r"b\.wav: not a wav file") as error:
        task.read_input(tmp_path / "b.wav")
    assert "on_bad_file" not in str(error.value)

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tasks.speech import store
from tasks.speech.audio import Item, read_audio, read_item
from tasks.speech.store import load_waves, write_features, write_waves

from .conftest import tone


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def items_of(spoken: Path) -> list[Item]:
    """Fifty clips and a second of a long recording: whole chunks and a part of one."""
    clips = [Item(str(p), i % 12) for i, p in enumerate(sorted(spoken.glob("[a-z]*/*.wav"))[:50])]
    return [*clips, Item(str(next(spoken.glob("_background_noise_/*.wav"))), 10, start=777)]


def sound_of(path: str) -> NDArray[np.float32]:
    return read_audio(path)[0]


@pytest.mark.usefixtures("threads")
def test_neither_threads_nor_chunks_move_a_bit(
    spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = items_of(spoken)
    files = []
    for k, (n, chunk) in enumerate([(1, 8), (2, 8), (2, 7), (1, 1), (2, 51)]):
        folder = tmp_path / str(k)
        folder.mkdir()
        torch.set_num_threads(n)
        monkeypatch.setattr(store, "_CHUNK", chunk)
        write_features({"train": items}, folder, "reflect", "error")
        assert torch.get_num_threads() == n
        files.append([(folder / name).read_bytes() for name in ("train.f32", "index.json")])
    assert len(files[0][0]) == len(items) * 101 * 40 * 4
    assert all(other == files[0] for other in files)


def test_waves_are_the_sound_itself(spoken: Path, tmp_path: Path) -> None:
    items = items_of(spoken)
    write_waves({"train": items}, tmp_path, "error")
    waves = load_waves(tmp_path, "train", len(items)).numpy()
    for item, wave in zip(items, waves, strict=True):
        sound, _ = read_item(item, sound_of)
        np.testing.assert_array_equal(wave, np.float32(32768) * sound)


def test_rows_stay_with_their_paths_where_files_are_skipped(spoken: Path, tmp_path: Path) -> None:
    good = items_of(spoken)[:20]
    broken = [Item(str(tmp_path / f"{k}.wav"), 3) for k in range(17)]
    for item in broken:
        Path(item.path).write_bytes(b"RIFF")
    stereo = Item(str(tone(tmp_path / "stereo.wav", channels=2)), 4)
    # some chunks hold no readable file at all
    items = [*good[:15], *broken, *good[15:], stereo]
    write_waves({"train": items, "val": broken}, tmp_path, "skip")
    index = json.loads((tmp_path / "index.json").read_text())
    kept = [*good, stereo]
    assert index["train"]["paths"] == [i.path for i in kept]
    assert index["train"]["targets"] == [i.target for i in kept]
    assert index["val"] == {"paths": [], "targets": []}
    assert index["notes"] == {"clips mixed down to mono": 1, "files skipped": 34}
    assert all(item.path in why for item, why in zip(broken, index["skipped"], strict=False))
    last = load_waves(tmp_path, "train", len(kept))[-2].numpy()
    np.testing.assert_array_equal(last, np.float32(32768) * read_item(good[-1], sound_of)[0])

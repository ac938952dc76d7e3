"""The speech task: one spoken word a clip, of Google Speech Commands or of the spoken sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from snnexp.data.base import (
    Batch,
    DataError,
    FileInput,
    Part,
    Split,
    TaskDataModule,
    TaskReport,
    TaskSpec,
)
from snnexp.data.cache import cached
from snnexp.data.splits import BalancedSampler, overlap
from tasks.speech import audio, baseline, encode, layout, store
from tasks.speech.audio import Item
from tasks.speech.augment import Augment
from tasks.speech.dataset import AugmentedFeatures, Features
from tasks.speech.encode import DT, N_MELS, N_STEPS, Scaling
from tasks.speech.sample import SpeechSample
from tasks.speech.source import get_root, get_test_archive
from tasks.speech.words import BACKGROUND, OFFICIAL_CLIPS, SILENCE

_SPLITS: tuple[Split, ...] = ("train", "val", "test")
HOW_TO_GET = (
    "data=real data_dir=<folder> takes Google Speech Commands (CC BY 4.0) from the folder, or "
    "downloads it there (v0.02; task.version=v0.01 for the smaller v0.01)"
)


class SpeechTask(TaskDataModule):
    """Google Speech Commands: 12 classes with silence and unknown words, or all 35 words.

    Source: Warden, arXiv 1804.03209; protocol of Pellegrini, Zimmer and Masquelier, SLT 2021. The
    keys are explained in configs/task/speech.yaml, the protocol in tasks/speech/README.md.
    A batch's input is [B, 101, 3, 40]: 10-ms steps of (log-mel, delta, delta of delta) x bands.
    """

    suffixes = (".wav",)
    cuts_time = True

    def __init__(
        self,
        *,
        data: Literal["sample", "real"],
        data_dir: str,
        cache_dir: str,
        batch_size: int,
        num_workers: int,
        seed: int,
        split_seed: int,
        version: Literal["auto", "v0.01", "v0.02"],
        classes: Literal[12, 35],
        test_set: Literal["list", "archive"],
        silence_train: int,
        silence_val: int,
        silence_test: int,
        silence_crops: layout.Crops,
        balanced: bool,
        pad_mode: encode.PadMode,
        scaling: encode.ScalingMode,
        on_bad_file: audio.OnBadFile,
        augment: Augment,
        sample: SpeechSample,
    ) -> None:
        super().__init__(
            data=data,
            data_dir=data_dir,
            cache_dir=cache_dir,
            batch_size=batch_size,
            num_workers=num_workers,
        )
        if test_set == "archive" and classes != 12:
            raise DataError(
                f"task.test_set=archive needs task.classes=12, given classes={classes}; use "
                "task.test_set=list"
            )
        if classes == 35 and version == "v0.01":
            raise DataError("task.classes=35 needs the 35 words of task.version=v0.02")
        self.seed, self.split_seed, self.version = seed, split_seed, version
        #: the sample has no test archive: the clips of its testing_list.txt stand in
        self.stands_in = test_set == "archive" and data == "sample"
        self.classes, self.test_set = classes, "list" if self.stands_in else test_set
        self.silence: dict[Split, int] = {
            "train": silence_train,
            "val": silence_val,
            "test": silence_test,
        }
        self.silence_crops, self.balanced, self.pad_mode = silence_crops, balanced, pad_mode
        self.scaling, self.on_bad_file = Scaling(scaling), on_bad_file
        self.augment, self.sample = augment, sample
        self.targets: dict[Split, Tensor] = {}
        self._root: layout.Root | None = None
        self._index: dict[str, Any] = {}
        self._features, self._n_clips = Path(), 0

    def prepare_data(self) -> None:
        """Make the sample or fetch the archive, and compute the features."""
        items = self._items()
        self._cached_features(items)
        if self.augment.on_waves:
            self._cached_waves(items)

    def setup(self, stage: str | None = None) -> None:
        """Map the cached features and build the three data sets."""
        if self.datasets:
            return
        items = self._items()
        self._features = self._cached_features(items)
        self._index = json.loads((self._features / "index.json").read_text())
        self.targets = {s: torch.tensor(self._index[s]["targets"]) for s in _SPLITS}
        names = layout.classes_of(self.classes)
        self._check(names)
        self.scaling.fit(self._logmel("train"))
        self.datasets = {
            s: Features(self._logmel(s), self.targets[s], self.scaling) for s in _SPLITS
        }
        if self.augment.on_waves or self.augment.on_features:
            self.datasets["train"] = self._augmented(items)
        self._spec = TaskSpec(
            name="speech",
            kind="classification",
            step_shape=(3, N_MELS),
            n_steps=N_STEPS,
            dt=DT,
            classes=names,
            item="clip",
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Draw as many clips as there are, with replacement, each class equally often."""
        if not self.balanced:
            return self.loader("train", shuffle=True)
        return self.loader("train", sampler=BalancedSampler(self.targets["train"], self.seed))

    def report(self) -> TaskReport:
        """Say which clips these were, and what was converted or left out."""
        root = self._locate()
        sizes: dict[str, int] = {s: len(self.targets[s]) for s in _SPLITS}
        words = {s: self._words_of(s) for s in _SPLITS}
        total = sum(len(w) for w in words.values())
        if self.data == "sample":
            source = f"{total} words of {self.sample.voices} synthetic voices (espeak-ng)"
            if self.stands_in:
                source += ", tested on its testing_list.txt in place of a separate test archive"
        else:
            source = f"Google Speech Commands {root.version}, {total} clips in {root.path}"
            if self.test_set == "archive":
                source += ", tested on the separate test archive"
        notes: dict[str, int | float | str] = dict(self._index["notes"])
        if self._index["skipped"]:
            notes["first file skipped"] = self._index["skipped"][0]
        speakers = {s: [layout.speaker(p) for p in words[s]] for s in _SPLITS}
        for split in _SPLITS:
            notes[f"speakers in {split}"] = len(set(speakers[split]))
        notes["speakers in two splits"] = len(overlap(speakers))
        full, excerpt = OFFICIAL_CLIPS[root.version], ""
        if self.data == "real" and self._n_clips != full:
            excerpt = f"{self._n_clips:,} of the {full:,} clips of Speech Commands {root.version}"
        return TaskReport(self.data, source, sizes, notes, HOW_TO_GET, excerpt)

    def baselines(self) -> dict[str, float]:
        """Test accuracy of the best constant answer, of guessing, and of logistic regression."""
        logmel = {s: self._logmel(s) for s in _SPLITS}
        folder = cached(
            self.cache_dir / "baselines" / "speech",
            key={"features": self._features.name},
            sources=[baseline],
            build=lambda path: baseline.write_linear(path, logmel, self.targets),
            what="the linear baseline",
        )
        trivial = baseline.chance(self.targets["test"], len(self.spec.classes))
        return {**trivial, "linear": baseline.read_linear(folder)}

    def state(self) -> dict[str, Any]:
        """Return what a new clip needs: scaling, the training set's std, padding."""
        return {
            "scaling": self.scaling.mode,
            "train_std": self.scaling.train_std,
            "pad_mode": self.pad_mode,
            "classes": self.spec.classes,
        }

    def restore(self, spec: TaskSpec, state: dict[str, Any]) -> None:
        """Take up the std of the training set of the run."""
        super().restore(spec, state)
        self.scaling.train_std = state["train_std"]

    def inputs_of(self, path: Path, part: Part) -> list[FileInput]:
        """Take the middle second of a recording, or of a part of it."""
        try:
            wave, notes = audio.read_audio(path)
        except audio.BadFileError as error:
            raise DataError(f"{path}: {error.why}") from error
        rate = audio.SAMPLE_RATE
        first = round((part.start or 0) * rate)
        last = len(wave) if part.stop is None else round(part.stop * rate)
        if not 0 <= first < last <= len(wave):
            raise DataError(
                f"{path} lasts {len(wave) / rate:g} s; asked for {part.start or 0:g} s to "
                f"{last / rate:g} s"
            )
        wave = wave[first:last]
        if len(wave) > audio.LENGTH:
            notes.append("cut to the middle second; start and stop choose another one")
        if self.scaling.mode == "clip_and_batch":
            notes.append(
                "scaled alone: with task.scaling=clip_and_batch the features of a clip depend on "
                "the others of its batch"
            )
        second = torch.from_numpy(audio.one_second(wave))[None]
        x = self.scaling(encode.add_deltas(encode.log_mel(second, self.pad_mode)))
        return [FileInput(path.name, x[0], notes=tuple(notes))]

    def _locate(self) -> layout.Root:
        if self._root is None:
            if self.data == "sample":
                self._root = layout.Root(self.sample.build(self.cache_dir), "v0.02")
            else:
                self._root = get_root(self.data_dir, self.version)
        return self._root

    def _items(self) -> dict[Split, list[Item]]:
        """List every split's clips and silences, with their classes."""
        root = self._locate()
        names = layout.classes_of(self.classes)
        needed = [n for n in names if not n.startswith("_")]
        if self.classes == 35 and root.version == "v0.01":
            raise DataError(f"task.classes=35 needs v0.02; {root.path} holds v0.01")
        clips = layout.split_words(root.path, layout.list_words(root.path, needed))
        self._n_clips = sum(map(len, clips.values()))
        items = {s: layout.label(clips[s], root.path, names) for s in _SPLITS}
        if self.test_set == "archive":
            items["test"] = layout.test_archive(get_test_archive(self.data_dir, root))
        if SILENCE in names:
            full = dict(self.silence)
            if self.test_set == "archive":
                full["test"] = 0
            counts = layout.silence_counts({s: len(clips[s]) for s in _SPLITS}, full)
            silence = layout.cut_silence(
                root.path, counts, self.silence_crops, names.index(SILENCE), self.split_seed
            )
            items = {s: items[s] + silence[s] for s in _SPLITS}
        return items

    def _cached_features(self, items: dict[Split, list[Item]]) -> Path:
        return cached(
            self.cache_dir / "features" / "speech",
            key={
                "clips": layout.fingerprint(items),
                "pad_mode": self.pad_mode,
                "on_bad_file": self.on_bad_file,
            },
            sources=[audio, encode, store],
            build=lambda path: store.write_features(items, path, self.pad_mode, self.on_bad_file),
            what="the speech features",
        )

    def _cached_waves(self, items: dict[Split, list[Item]]) -> Path:
        train: dict[Split, list[Item]] = {"train": items["train"]}
        return cached(
            self.cache_dir / "waves" / "speech",
            key={"clips": layout.fingerprint(train), "on_bad_file": self.on_bad_file},
            sources=[audio, store],
            build=lambda path: store.write_waves(train, path, self.on_bad_file),
            what="the training clips' sound",
        )

    def _logmel(self, split: Split) -> Tensor:
        return store.load_features(self._features, split, len(self.targets[split]))

    def _augmented(self, items: dict[Split, list[Item]]) -> AugmentedFeatures:
        n = len(self.targets["train"])
        waves, noises = None, []
        if self.augment.on_waves:
            waves = store.load_waves(self._cached_waves(items), "train", n)
        if self.augment.noise_prob > 0:
            noises = self._training_noise()
        return AugmentedFeatures(
            self._logmel("train"),
            self.targets["train"],
            self.scaling,
            waves=waves,
            noises=noises,
            augment=self.augment,
            pad_mode=self.pad_mode,
            seed=self.seed,
        )

    def _training_noise(self) -> list[Tensor]:
        """Return the part of each background recording that training may hear."""
        noises = []
        for file in layout.noise_files(self._locate().path):
            lo, hi = layout.noise_span(file, "train", self.silence_crops)
            noises.append(torch.from_numpy(audio.read_audio(file)[0][lo:hi]))
        return noises

    def _words_of(self, split: Split) -> list[str]:
        """Paths of a split's spoken clips, the cut silences left out."""
        return [p for p in self._index[split]["paths"] if Path(p).parent.name != BACKGROUND]

    def _check(self, names: tuple[str, ...]) -> None:
        """Refuse a training set that lacks a class, and an empty validation or test set."""
        counts = torch.bincount(self.targets["train"], minlength=len(names))
        absent = [name for name, count in zip(names, counts, strict=True) if count == 0]
        empty = [s for s in _SPLITS if len(self.targets[s]) == 0]
        if absent or empty:
            what = f"no training clip of {', '.join(absent)}" if absent else f"no clip in {empty}"
            raise DataError(
                f"{self._locate().path} gives {what}; check its word folders, "
                f"{layout.VALIDATION_LIST} and {layout.TESTING_LIST}"
            )

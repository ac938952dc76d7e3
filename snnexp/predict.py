"""`python -m snnexp.predict run=<folder> input=<file>`: what a trained network makes of one file.

    python -m snnexp.predict run=outputs/runs/speech-conv_snn/seed0/... input=yes.wav
    ... input=chb01_03.edf start=2990 stop=3040      windows of a recording, seconds from its start
    ... input=capture.pcap index=0                   one flow's window
    ... input=t10k-images-idx3-ubyte.gz index=7      one image of many

Prints class probabilities (or draws a depth map), firing rates and synaptic operations of this
input; the same, with a raster figure, goes to `predictions/<name of the file>/`, or `output=`.
Keys: configs/predict.yaml.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from snnexp.config.compose import compose_config, quoted
from snnexp.config.schema import PredictRoot
from snnexp.config.validate import ConfigError, validate
from snnexp.data.base import Part
from snnexp.loaded import LoadedRun, Prediction
from snnexp.process import answering
from snnexp.report.environment import code_state
from snnexp.report.prediction import (
    PICTURES,
    Predicted,
    PredictionRecord,
    draw_depth,
    draw_raster,
    new_folder,
    show_prediction,
)
from snnexp.training.checkpoint import sha256

log = logging.getLogger("snnexp")

PATHS = ("run", "input", "output", "checkpoint", "data_dir", "cache_dir")


def predict(cfg: DictConfig) -> tuple[PredictionRecord, Path]:
    """Predict as a validated configuration says; return the record and the folder it lies in."""
    loaded = LoadedRun(
        cfg.run,
        checkpoint=cfg.checkpoint,
        data_dir=cfg.data_dir,
        cache_dir=cfg.cache_dir,
        backend=cfg.backend,
        device=_device(cfg.accelerator),
        trust=cfg.trust,
    )
    path = Path(cfg.input)
    given = loaded.inputs(path, Part(cfg.start, cfg.stop, cfg.index))
    folder = new_folder(cfg.output, path.stem or path.name)
    inputs = []
    for i, one in enumerate(track(given, "predicting", disable=len(given) < PICTURES)):
        name = "" if len(given) == 1 else f"_{i}"
        inputs.append(_keep(loaded.predict_one(one), loaded, folder, name, i < PICTURES))
    if len(given) > PICTURES:
        log.info("pictures of the first %d of %d inputs; index=<n> draws one", PICTURES, len(given))
    record = PredictionRecord(
        run=loaded.result.id,
        checkpoint=loaded.checkpoint,
        file=str(path),
        file_sha256=sha256(path),
        statistics=loaded.statistics,
        code=code_state(),
        inputs=inputs,
    )
    record.write(folder)
    show_prediction(record, Console(highlight=False), folder)
    return record, folder


def _keep(
    found: Prediction, loaded: LoadedRun, folder: Path, suffix: str, pictures: bool
) -> Predicted:
    """Write the files of one prediction; return its entry in the record."""
    kept = Predicted(
        name=found.name,
        probabilities=found.probabilities,
        firing=found.firing,
        operations=found.operations,
        notes=list(found.notes),
    )
    figures: list[str] = []
    if found.depth is not None:
        kept.depth = f"depth{suffix}.npy"
        np.save(folder / kept.depth, found.depth)
        if found.truth is not None and np.isfinite(found.truth).any():
            kept.mean_error_m = float(np.nanmean(np.abs(found.depth - found.truth)))
        if pictures:
            picture = folder / f"depth{suffix}.png"
            figures.append(draw_depth(found.depth, found.truth, found.name, picture))
    if pictures and found.raster is not None:
        title = found.name
        if found.probabilities is not None:
            title += f": {found.label}, {100 * found.probabilities[found.label]:.0f} %"
        figures.append(
            draw_raster(found.raster, loaded.result.name, title, folder, f"raster{suffix}")
        )
    kept.figures = figures
    return kept


def _device(accelerator: str) -> str:
    """Return the device that an accelerator's name means here."""
    if accelerator in ("auto", "gpu", "cuda"):
        if torch.cuda.is_available():
            return "cuda"
        if accelerator != "auto":
            raise ConfigError([f"accelerator={accelerator}: no CUDA device; use accelerator=cpu"])
    elif accelerator != "cpu":
        raise ConfigError([f"accelerator={accelerator}: expected auto, cpu or gpu"])
    return "cpu"


def main(words: Sequence[str] | None = None) -> None:
    """Entry point of the command line."""
    words = sys.argv[1:] if words is None else words
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return
    with answering():
        cfg = compose_config([quoted(w, PATHS) for w in words], "predict")
        predict(validate(cfg, PredictRoot, ()))


if __name__ == "__main__":
    main()

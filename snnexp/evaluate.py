"""`python -m snnexp.evaluate run=<folder>`: test a finished run again, as it was or disturbed.

    python -m snnexp.evaluate run=outputs/runs/speech-conv_snn/seed0/...     the same test
    ... data=real data_dir=data                                              on other data
    ... corrupt=noise corrupt.sigma=0,0.5,1,2                                a robustness curve
    ... corrupt=drop_neurons corrupt.p=0.1 checkpoint=last

Keys: configs/evaluate.yaml; disturbances: configs/corrupt. What is found goes to
`<run>/evaluations/<time>-<disturbance>/evaluation.json`; the run's own record is not touched.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from rich.console import Console

from snnexp import outcome
from snnexp.assembly import build
from snnexp.config.compose import compose_config, quoted, settings_of
from snnexp.config.schema import EvaluateRoot
from snnexp.config.validate import ConfigError, validate
from snnexp.corruptions import Corruption
from snnexp.loaded import LoadedRun
from snnexp.process import answering
from snnexp.report.environment import code_state, environment
from snnexp.report.evaluation import Disturbance, Evaluation, Point
from snnexp.report.record import Confusion, Data, Firing, Operations
from snnexp.report.show_evaluation import show_evaluation
from snnexp.training.evaluation import Float32Evaluation

log = logging.getLogger("snnexp")

PATHS = ("run", "checkpoint", "data_dir", "cache_dir")


class _Disturb(Callback):
    """Disturbs each test batch before the network sees it."""

    def __init__(self, corruption: Corruption) -> None:
        self.corruption = corruption

    def on_test_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Replace the input in the batch."""
        spec: Any = pl_module.spec
        batch["input"] = self.corruption.input(batch["input"], batch["index"], spec)


def evaluate(settings: Sequence[DictConfig], swept: str | None = None) -> tuple[Evaluation, Path]:
    """Test a run once for each setting; return what was found and the folder it was written to.

    Settings differ in `corrupt` alone, at the key `swept`.
    """
    cfg = settings[0]
    disturbances = [build(s.corrupt) for s in settings]
    start = time.monotonic()
    loaded = LoadedRun(
        cfg.run,
        checkpoint=cfg.checkpoint,
        data=cfg.data,
        data_dir=cfg.data_dir,
        cache_dir=cfg.cache_dir,
        backend=cfg.backend,
        trust=cfg.trust,
    )
    log.info(
        "%s, weights of %s (epoch %d); constants of the training set: %s",
        *(loaded.folder, loaded.checkpoint.path, loaded.checkpoint.epoch + 1, loaded.statistics),
    )
    task = loaded.test_task()
    points = [
        _point(loaded, s, corruption, swept)
        for s, corruption in zip(settings, disturbances, strict=True)
    ]
    trainer = _trainer(loaded, cfg.accelerator, [])
    device = trainer.strategy.root_device
    found = Evaluation(
        run=loaded.result.id,
        run_commit=loaded.result.code.commit,
        checkpoint=loaded.checkpoint,
        code=code_state(),
        environment=environment(
            device,
            backend=" + ".join(sorted(loaded.model.providers(device))) or "none",
            precision=trainer.precision,
            world_size=1,
        ),
        data=Data(**asdict(task.report())),
        monitor=loaded.result.metrics.monitor,
        baselines=task.baselines(),
        swept=swept,
        points=points,
        wall_s=time.monotonic() - start,
    )
    folder = found.folder(loaded.folder)
    found.write(folder)
    show_evaluation(found, loaded.result, Console(highlight=False), folder)
    return found, folder


def _point(loaded: LoadedRun, cfg: DictConfig, corruption: Corruption, swept: str | None) -> Point:
    """Test once, with one disturbance."""
    name = _name_of(cfg.corrupt)
    if swept is not None:
        log.info("%s %s", name, {k: v for k, v in cfg.corrupt.items() if k != "_target_"})
    L.seed_everything(loaded.config["seed"], workers=True, verbose=False)
    trainer = _trainer(loaded, cfg.accelerator, [_Disturb(corruption)])
    with corruption.network(loaded.model):
        metrics = outcome.test(trainer, loaded.module, loaded.task, None)
    found = loaded.module.tested
    assert found is not None
    classes = list(loaded.spec.classes)
    return Point(
        disturbance=Disturbance(
            name=name,
            target=cfg.corrupt["_target_"],
            arguments={k: v for k, v in cfg.corrupt.items() if k != "_target_"},
        ),
        metrics=metrics,
        firing=None if found.activity is None else Firing(**found.activity),
        operations=Operations(**found.synops) if found.synops["layers"] else None,
        confusion=None
        if found.confusion is None
        else Confusion(split="test", classes=classes, counts=found.confusion),
    )


def _name_of(corrupt: DictConfig) -> str:
    """`snnexp.corruptions.DropSteps` -> `drop_steps`."""
    cls = corrupt["_target_"].rpartition(".")[2]
    name = "".join(f"_{c.lower()}" if c.isupper() else c for c in cls).removeprefix("_")
    return "none" if name == "corruption" else name


def _trainer(loaded: LoadedRun, accelerator: str, callbacks: list[Callback]) -> L.Trainer:
    """Build a trainer that tests as the run's did, and writes nothing."""
    own = loaded.config["trainer"]
    name = f"{Float32Evaluation.__module__}.{Float32Evaluation.__qualname__}"
    if any(c["_target_"] == name for c in loaded.config["callbacks"].values()):
        callbacks = [*callbacks, Float32Evaluation()]
    return L.Trainer(
        accelerator=accelerator,
        devices=1,
        precision=own.get("precision", "32-true"),
        limit_test_batches=own.get("limit_test_batches"),
        deterministic="warn" if loaded.config["deterministic"] else False,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def main(words: Sequence[str] | None = None) -> None:
    """Entry point of the command line."""
    words = sys.argv[1:] if words is None else words
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return
    with answering():
        settings = settings_of([quoted(w, PATHS) for w in words], "evaluate")
        cfgs = [validate(compose_config(s, "evaluate"), EvaluateRoot, ()) for s in settings]
        swept = settings[0][-1].partition("=")[0] if len(settings) > 1 else None
        if swept is not None and swept.split(".")[0] != "corrupt":
            raise ConfigError([f"{swept}: several values serve corrupt and its keys only"])
        evaluate(cfgs, swept)


if __name__ == "__main__":
    main()

"""Every kind of mistake in a configuration is found, with the key to change, all at once."""

from collections.abc import Callable, Sequence
from typing import Literal

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ReadonlyConfigError

from snnexp.config import validate as v
from snnexp.config.compose import compose_config


class Part:
    """A target as the house writes them: run-time objects first, keyword-only config."""

    def __init__(
        self,
        spec: object,
        *,
        size: int,
        rate: float,
        mode: Literal["mean", "max"],
        kernels: Sequence[tuple[int, int]],
        inner: Callable[..., object] | None,
    ) -> None: ...


HERE = f"{__name__}.Part"


@pytest.fixture(autouse=True)
def _own(monkeypatch):
    monkeypatch.setattr(v, "_OWN", ("snnexp.", "tasks.", __name__))


def part(**changes):
    node = {
        "_target_": HERE,
        "size": 3,
        "rate": 1,
        "mode": "mean",
        "kernels": [[4, 3], [4, 3]],
        "inner": None,
    }
    node.update(changes)
    return {k: x for k, x in node.items() if x != "absent"}


def root(**changes):
    config = {
        "name": "x",
        "seed": 0,
        "data": "sample",
        "data_dir": "data",
        "cache_dir": ".cache",
        "output_dir": "outputs",
        "backend": "auto",
        "select_on": "val",
        "deterministic": True,
        "resume": None,
        "paper": None,
        "task": part(),
        "model": part(),
        "loss": part(),
        "optimizer": {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1},
        "scheduler": part(),
        "rule": part(),
        "trainer": {"_target_": "lightning.Trainer", "max_epochs": 2},
        "logger": {},
        "callbacks": {},
    }
    config.update(changes)
    return OmegaConf.create(config)


def problems(**changes):
    with pytest.raises(v.ConfigError) as caught:
        v.validate(root(**changes))
    return caught.value.problems


def test_a_sound_configuration_comes_back_read_only():
    cfg = v.validate(root())
    assert cfg.model.size == 3
    with pytest.raises(ReadonlyConfigError):
        cfg.seed = 4


def test_interpolations_are_resolved():
    assert v.validate(root(model=part(size="${seed}"))).model.size == 0


def test_unknown_root_key_has_a_near_miss():
    assert problems(sed=3) == ["sed: no such key. Did you mean 'seed'?"]


def test_unknown_parameter_has_a_near_miss():
    assert problems(model=part(sise=3)) == ["model.sise: no such key. Did you mean 'size'?"]


def test_missing_parameter_is_named():
    (problem,) = problems(model=part(rate="absent"))
    assert problem.startswith("model.rate: missing")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("size", "3", "model.size: expected int, given '3'"),
        ("size", 3.5, "model.size: expected int, given 3.5"),
        ("rate", "fast", "model.rate: expected float, given 'fast'"),
        ("mode", "meen", "Did you mean 'mean'?"),
        ("kernels", [[4, 3], [4]], "model.kernels"),
        ("size", None, "model.size: expected int, given None"),
        ("size", True, "model.size: expected int, given True"),
    ],
)
def test_wrong_type_is_named(key, value, expected):
    (problem,) = problems(model=part(**{key: value}))
    assert expected in problem


def test_an_int_serves_as_float_and_lists_as_tuples():
    v.validate(root(model=part(rate=2, kernels=[[1, 2]])))


def test_nested_targets_are_checked():
    assert problems(model=part(inner=part(siz=1))) == [
        "model.inner.siz: no such key. Did you mean 'size'?"
    ]


def test_unknown_target_is_named():
    (problem,) = problems(model={"_target_": "snnexp.losses.CrossEntropi"})
    assert problem.startswith("model._target_: cannot import")
    assert "CrossEntropy" in problem
    (problem,) = problems(model={"_target_": "snnexp.nowhere.X"})
    assert "model._target_" in problem


def test_third_party_typo_is_found():
    (problem,) = problems(optimizer={"_target_": "torch.optim.SGD", "_partial_": True, "lrr": 1})
    assert problem == "optimizer.lrr: no such key. Did you mean 'lr'?"


def test_missing_value_marker_is_found():
    assert "task.size: a value is required; give it as task.size=<value>" in problems(
        task=part(size="???")
    )


def test_all_problems_come_together():
    found = problems(sed=1, seed="zero", model=part(sise=1), task=part(rate="absent"))
    assert len(found) == 4


def test_error_text_lists_them():
    with pytest.raises(v.ConfigError, match="2 problems in the configuration"):
        v.validate(root(sed=1, model=part(sise=1)))


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_seed_has_a_range(seed):
    assert problems(seed=seed)[0].startswith("seed:")


def test_seed_zero_is_a_seed():
    assert v.validate(root(seed=0)).seed == 0


def test_paper_block_has_a_schema():
    paper = {
        "key": "a",
        "title": "b",
        "table": "abstract",
        "metric": "test/acc",
        "claimed": 0.9,
        "spread": None,
        "tolerance": None,
        "protocol": "authors",
        "selection": "selected",
    }
    v.validate(root(paper=paper))
    (problem,) = problems(paper={**paper, "claimd": 0.9})
    assert problem == "paper.claimd: no such key. Did you mean 'claimed'?"


def test_rules_across_nodes():
    trainer = {"_target_": "lightning.Trainer", "max_epochs": 0, "gradient_clip_algorithm": "value"}
    found = problems(trainer=trainer)
    assert any(p.startswith("trainer.max_epochs") for p in found)
    assert any("gradient_clip_val" in p for p in found)
    cpu = {"_target_": "lightning.Trainer", "max_epochs": 1, "accelerator": "cpu"}
    assert problems(backend="triton", trainer=cpu)[0].startswith("backend:")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["task=mnist", "model=s4nn", "trainer=ddp"], "rule=s4nn learns image by image"),
        (["task=mnist", "model=s4nn", "trainer.devices=2"], "-m seed=0,1,2"),
        (["+trainer.strategy=ddp_spawn"], "use trainer=ddp"),
        (["+trainer.strategy=fsdp"], "use trainer=fsdp"),
        (["trainer=fsdp", "trainer.precision=16-mixed"], "use trainer.precision=bf16-mixed"),
        (["task=mnist", "model=s4nn", "trainer=fsdp"], "rule=s4nn learns image by image"),
        (["trainer.max_time=10m"], "expected DD:HH:MM:SS, such as 00:12:00:00, given '10m'"),
    ],
    ids=lambda x: x[-1] if isinstance(x, list) else "",
)
def test_what_processes_and_time_limits_cannot_do_is_refused(words, expected):
    with pytest.raises(v.ConfigError) as found:
        v.validate(compose_config(words))
    assert len(found.value.problems) == 1
    assert expected in found.value.problems[0]


@pytest.mark.parametrize(
    "words",
    [
        ["task=mnist", "model=s4nn"],
        ["trainer=ddp", "trainer.devices=4", "trainer.num_nodes=2"],
        ["trainer.max_time=00:00:10:00"],
    ],
    ids=lambda x: x[-1],
)
def test_what_processes_and_time_limits_can_do_is_taken(words):
    v.validate(compose_config(words))
